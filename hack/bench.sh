#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the Go benchmarks; those in the kernel need root. With a commit to compare
# with, runs both in turn and lets benchstat judge.
#
# usage: hack/bench.sh [BASE]
#   BENCH=.     which benchmarks
#   COUNT=      how often each: 1, with BASE 10
set -euo pipefail
cd "$(dirname "$0")/.."

bench=${BENCH:-.}
benchmark() {
	go test -run '^$' -bench "$bench" -benchmem -cpu 1 ./...
}

if [ $# -eq 0 ]; then
	for _ in $(seq "${COUNT:-1}"); do
		benchmark | grep -Ev '^(PASS|\?|ok )'
	done
	exit
fi

here=$PWD
there=build/bench-base
old=$here/build/bench-old.txt
new=$here/build/bench-new.txt
mkdir -p build && rm -f "$old" "$new"
git worktree add --quiet --force --detach "$there" "$1"
trap 'git worktree remove --force "$there"' EXIT
for _ in $(seq "${COUNT:-10}"); do
	(cd "$there" && benchmark) >>"$old"
	benchmark >>"$new"
done
go tool benchstat "$old" "$new"
