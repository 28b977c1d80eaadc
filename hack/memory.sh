#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures memory by the resident set of conntap read. Of a live connection: when it
# has followed N connections and none has ended, less that with none, over N. Over
# time: after FEW packets of connections that come and go, and after MANY, as many
# being open then as before; the bar is 5 % more, exit code 1 if it is missed.
#
#   CONNECTIONS=1000000
#   FEW=3000000 MANY=30000000
set -euo pipefail
cd "$(dirname "$0")/.."

connections=${CONNECTIONS:-1000000}
few=${FEW:-3000000}
many=${MANY:-30000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Starts conntap with an input that stays open, as descriptor 3.
start() {
	rm -f "$work/input" && mkfifo "$work/input"
	"${CONNTAP:-./conntap}" read --quiet --format tsv - <"$work/input" >/dev/null &
	pid=$!
	exec 3>"$work/input"
}

stop() {
	exec 3>&-
	wait "$pid"
}

# Takes the resident set and its peak, in bytes, into rss and peak.
sample() {
	sleep 2 # what is left in the pipe
	read -r rss peak < <(awk '/^VmRSS/ { rss = $2 } /^VmHWM/ { peak = $2 } END { print rss * 1024, peak * 1024 }' \
		"/proc/$pid/status")
}

# Feeds a capture to conntap and takes a sample.
resident() {
	start
	cat "$1" >&3
	sample
	stop
}

go build -o "$work/genpcap" ./hack/genpcap
"$work/genpcap" flows --connections 0 "$work/none.pcap"
"$work/genpcap" flows --connections "$connections" "$work/flows.pcap"
resident "$work/none.pcap"
none=$rss none_peak=$peak
resident "$work/flows.pcap"
all=$rss all_peak=$peak
awk -v n="$connections" -v a="$all" -v b="$none" -v c="$all_peak" -v d="$none_peak" 'BEGIN {
	printf "%d live connections: resident %.0f MB, without %.0f MB\n", n, a / 1e6, b / 1e6
	printf "bytes per live connection: %.0f (of the peak: %.0f)\n", (a - b) / n, (c - d) / n
}'

# The first packets of the long capture are the short one.
churn() { "$work/genpcap" churn --packets "$1" /dev/stdout; }
bytes=$(churn "$few" | wc -c)
export GOGC=10 # little garbage, which takes its room bit by bit, and is not what is asked for
start
churn "$few" >&3
sample
before=$rss
churn "$many" | tail -c "+$((bytes + 1))" >&3
sample
stop
awk -v few="$few" -v many="$many" -v a="$before" -v b="$rss" 'BEGIN {
	printf "connections that come and go: resident %.1f MB after %d packets, %.1f MB after %d: %.1f %%, 105 %% at most\n",
		a / 1e6, few, b / 1e6, many, 100 * b / a
	exit b > 1.05 * a
}'
