#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the repository for the given time, two at a time with
# one worker each. Prints how often each ran; fails if one found something.
#
# usage: hack/fuzz.sh [60s]
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:-60s}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

fuzz() {
	local package=$1 target=$2 log=$3/$2
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "$4" -fuzzminimizetime 20x -parallel 1 "$package" >"$log" 2>&1; then
		printf '%-24s %-14s %s\n' "$target" "$package" "$(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
	else
		printf '%-24s %-14s FAILED\n' "$target" "$package"
		tail -n 40 "$log"
		return 1
	fi
}
export -f fuzz

targets=$(grep -rEo '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' . |
	sed -E 's|^(.*)/[^/]*_test.go:func (.*)|\1 \2|' | sort) || true
[ -n "$targets" ] || { echo "fuzz: no targets" >&2 && exit 1; }
# shellcheck disable=SC2016 # the inner shell expands them
xargs -P 2 -L 1 bash -c 'fuzz "$2" "$3" "$0" "$1"' "$logs" "$fuzztime" <<<"$targets"
