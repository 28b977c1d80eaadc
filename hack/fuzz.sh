#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the repository for the given time, two at a time with
# one worker each; with a second time, those for that long that are not the parsers
# of frames and captures or the tracker. Prints how often each ran; fails if one found
# something.
#
# usage: hack/fuzz.sh [60s [60s]]
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:-60s}
resttime=${2:-$fuzztime}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Go before 1.27 can take the end of the time for a failure (golang/go issue 75804).
# It then prints nothing else: a finding names its input.
only_timed_out() {
	[ "$(grep -A 1 -e '--- FAIL:' "$1" | tail -n 1 | xargs)" = 'context deadline exceeded' ] &&
		! grep -qE 'Failing input|panic|fatal error' "$1"
}

fuzz() {
	local package=$1 target=$2 log=$3/$2 time=$5
	case $target in FuzzParse | FuzzCapture | FuzzTracker) time=$4 ;; esac
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 1 "$package" >"$log" 2>&1 || only_timed_out "$log"; then
		printf '%-24s %-14s %s\n' "$target" "$package" "$(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
	else
		printf '%-24s %-14s FAILED\n' "$target" "$package"
		tail -n 40 "$log"
		return 1
	fi
}
export -f fuzz only_timed_out

targets=$(grep -rEo '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' . |
	sed -E 's|^(.*)/[^/]*_test.go:func (.*)|\1 \2|' | sort) || true
[ -n "$targets" ] || { echo "fuzz: no targets" >&2 && exit 1; }
# shellcheck disable=SC2016 # the inner shell expands them
xargs -P 2 -L 1 bash -c 'fuzz "$3" "$4" "$0" "$1" "$2"' "$logs" "$fuzztime" "$resttime" <<<"$targets"
