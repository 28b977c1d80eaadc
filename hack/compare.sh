#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures conntap read beside softflowd -r and argus -r on one capture of mixed
# traffic: runs in turn, wall-clock and CPU seconds, medians. conntap and argus
# write to a file system; softflowd has no collector to send to.
#
#   PACKETS=3000000   size of the capture, which is made with hack/genpcap
#   RUNS=5            runs of each
#   DIR=/tmp          where capture and log are written
set -euo pipefail
cd "$(dirname "$0")/.."

packets=${PACKETS:-3000000}
runs=${RUNS:-5}
work=$(mktemp -d "${DIR:-/tmp}/conntap-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
capture=$work/mix.pcap

# Runs a command; appends its wall-clock and CPU seconds to the file $1.
measure() {
	local times=$1 TIMEFORMAT='%R %U %S'
	shift
	{ time "$@" >"$work/out" 2>"$work/err"; } 2>>"$times.raw" || { cat "$work/err" >&2; return 1; }
	tail -n 1 "$times.raw" | awk '{ print $1, $2 + $3 }' >>"$times"
}

median() {
	cut -d ' ' -f "$2" "$1" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

go run ./hack/genpcap mix --packets "$packets" "$capture"
cat "$capture" >/dev/null # into the page cache, for both
for _ in $(seq "$runs"); do
	rm -rf "$work/log" "$work/argus.out"
	measure "$work/conntap" ./conntap read --format tsv --log-dir "$work/log" "$capture"
	measure "$work/softflowd" softflowd -r "$capture"
	measure "$work/argus" argus -r "$capture" -w "$work/argus.out"
done

echo "$packets packets, $(stat -c %s "$capture") bytes, $(nproc) CPUs, median of $runs runs in turn"
echo "log: $(grep -vc '^#' "$work/log/conn.log") rows"
own=$(median "$work/conntap" 1)
printf '%-10s %9s %9s %10s   %s\n' program wall CPU rate "conntap is"
for program in conntap softflowd argus; do
	awk -v name="$program" -v wall="$(median "$work/$program" 1)" -v cpu="$(median "$work/$program" 2)" -v n="$packets" -v own="$own" \
		'BEGIN { printf "%-10s %7.2f s %7.2f s %5.2f Mpps", name, wall, cpu, n / wall / 1e6
		if (name != "conntap") printf "   %.1f times as fast", wall / own
		print "" }'
done
