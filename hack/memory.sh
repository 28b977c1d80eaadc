#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures the memory of a live connection: the resident set of conntap read when
# it has followed N connections and none has ended, less that with none, over N.
#
#   CONNECTIONS=1000000
set -euo pipefail
cd "$(dirname "$0")/.."

connections=${CONNECTIONS:-1000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Feeds a capture to conntap, keeps its input open, and prints the resident set
# and its peak, in bytes.
resident() {
	local pid
	rm -f "$work/input" && mkfifo "$work/input"
	"${CONNTAP:-./conntap}" read --quiet --format tsv - <"$work/input" >/dev/null &
	pid=$!
	exec 3>"$work/input"
	cat "$1" >&3
	sleep 2 # what is left in the pipe
	awk '/^VmRSS/ { rss = $2 } /^VmHWM/ { peak = $2 } END { print rss * 1024, peak * 1024 }' "/proc/$pid/status"
	exec 3>&-
	wait "$pid"
}

go build -o "$work/genpcap" ./hack/genpcap
"$work/genpcap" flows --connections 0 "$work/none.pcap"
"$work/genpcap" flows --connections "$connections" "$work/flows.pcap"
read -r none none_peak < <(resident "$work/none.pcap")
read -r all all_peak < <(resident "$work/flows.pcap")
awk -v n="$connections" -v a="$all" -v b="$none" -v c="$all_peak" -v d="$none_peak" 'BEGIN {
	printf "%d live connections: resident %.0f MB, without %.0f MB\n", n, a / 1e6, b / 1e6
	printf "bytes per live connection: %.0f (of the peak: %.0f)\n", (a - b) / n, (c - d) / n
}'
