#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Reads a SYN flood and a scan of 65,536 ports beside 1,000 sessions, and shows what it
# takes: the resident set, the rows, the time. The sessions' rows must be those that
# there are without the flood, and every packet in a row.
#
#   SOURCES=5000000       of the flood, each sends one SYN; a quarter is answered
#   CONNECTIONS=100000    --max-connections
set -euo pipefail
cd "$(dirname "$0")/.."

sources=${SOURCES:-5000000}
connections=${CONNECTIONS:-100000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the rows of a log that are the sessions', and all packets of its rows.
sessions() { grep -v '^#' "$1" | awk -F'\t' '$3 ~ /^10\./'; }
packets() { awk -F'\t' '!/^#/ { n += $17 + $19 } END { print n }' "$1"; }

go build -o "$work/genpcap" ./hack/genpcap
CGO_ENABLED=0 go build -o "$work/conntap" ./cmd/conntap
"$work/genpcap" flood --sources "$sources" "$work/flood.pcap"
"$work/conntap" read -q --format tsv --filter 'net 10.0.0.0/8' "$work/flood.pcap" >"$work/alone.log"

begin=$(date +%s%N)
"$work/conntap" read --format tsv --account full --max-connections "$connections" "$work/flood.pcap" \
	>"$work/flood.log" 2>"$work/account" &
pid=$!
while peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$peak" ]; do
	highest=$peak
	sleep 0.2
done
wait "$pid"
end=$(date +%s%N)

cat "$work/account"
rows=$(grep -vc '^#' "$work/flood.log")
echo "$rows rows in $(((end - begin) / 1000000)) ms; resident set at most $((highest / 1024)) MiB, with room for $connections connections"
if ! grep -q "packets $(packets "$work/flood.log" | sed ':a; s/\B[0-9]\{3\}\>/,&/; ta') = " "$work/account"; then
	echo "flood.sh: not every packet is in a row" >&2
	exit 1
fi
if ! cmp -s <(sessions "$work/flood.log") <(sessions "$work/alone.log"); then
	echo "flood.sh: the sessions' rows are not those without the flood" >&2
	exit 1
fi
echo "the sessions' $(sessions "$work/flood.log" | wc -l) rows are as without the flood, and every packet is in a row"
