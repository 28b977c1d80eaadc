#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures live capture by conntap beside softflowd, argus, tcpdump, and Zeek where
# it is installed: the same frames, made in the kernel by conntap bench, go over a
# veth pair to each in turn. Prints what was offered, what each accounts for as
# received, and the CPU time that it took. conntap-xdp ends packets after recording
# them, as it may on a mirror port. Needs root.
#
#   PACKETS=5000000   in each run
#   RATES="500k 1M max"
#   ROUNDS=3          runs of each program at each rate; sums are shown
#   FLOWS=10000 SIZE=60
#   PROGRAMS="conntap-xdp conntap-tcx conntap-afpacket softflowd argus tcpdump zeek"
#   DIR=/tmp          where logs are written
set -euo pipefail
set -m # programs in the background are to hear SIGINT
cd "$(dirname "$0")/.."

packets=${PACKETS:-5000000}
rates=${RATES:-500k 1M max}
rounds=${ROUNDS:-3}
flows=${FLOWS:-10000}
size=${SIZE:-60}
programs=${PROGRAMS:-conntap-xdp conntap-tcx conntap-afpacket softflowd argus tcpdump zeek}
work=$(mktemp -d "${DIR:-/tmp}/conntap-compare.XXXXXX")
sender=conntap-compare-sender-$$
capturer=conntap-compare-capturer-$$
others=$(($(nproc) > 1 ? $(nproc) - 2 : 0)) # the last CPU is the generator's

PATH=$PATH:/usr/sbin:/sbin:/opt/zeek/bin:/usr/local/zeek/bin
[ "$(id -u)" -eq 0 ] || { echo "compare-live: it takes root: sudo hack/compare-live.sh" >&2; exit 1; }
[ -x conntap ] || { echo "compare-live: no ./conntap: make build" >&2; exit 1; }

# Removes the namespaces, and the veth pair with them. What runs there ends.
unplug() {
	local pids
	pids=$(ip netns pids "$capturer" 2>/dev/null) || true
	# shellcheck disable=SC2086 # one argument each
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
	ip netns del "$sender" 2>/dev/null || true
	ip netns del "$capturer" 2>/dev/null || true
}
trap 'unplug; rm -rf "$work"' EXIT

# Makes the veth pair, of which neither end sends anything by itself.
plug() {
	local end
	ip netns add "$sender"
	ip netns add "$capturer"
	for end in "$sender" "$capturer"; do
		ip netns exec "$end" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	done
	ip link add load0 netns "$sender" type veth peer name load1 netns "$capturer"
	ip -n "$sender" link set load0 arp off up
	ip -n "$capturer" link set load1 arp off up
	ip netns exec "$capturer" ethtool -K load1 gro on # or it takes no frames from a program
}

# Starts the program in the capturer's namespace, as its users would for such a
# load, its output in $work.
start() {
	local command
	case $1 in
	conntap-xdp) command=(./conntap run -i load1 --capture xdp --xdp-action drop --log-dir "$work/log") ;;
	conntap-*) command=(./conntap run -i load1 --capture "${1#conntap-}" --log-dir "$work/log") ;;
	softflowd) command=(softflowd -d -i load1 -m $((2 * flows)) -c "$work/control" -p "$work/pid") ;;
	argus) command=(argus -i load1 -w "$work/argus.out") ;;
	tcpdump) command=(tcpdump -i load1 -s 64 -B 65536 -w /dev/null) ;;
	zeek) command=(zeek -C -i af_packet::load1 "Log::default_logdir=$work/log") ;;
	esac
	mkdir -p "$work/log"
	ip netns exec "$capturer" taskset -c "0-$others" "${command[@]}" >"$work/out" 2>&1 &
	sleep "$([ "$1" = zeek ] && echo 10 || echo 2)" # until it captures
	kill -0 $! || { cat "$work/out" >&2; echo "compare-live: $1 does not run" >&2; exit 1; }
}

# User and system seconds of a process so far.
cpu_seconds() {
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"
}

# Packets in the rows of a conn.log.
logged() {
	awk -F '\t' '/^#fields/ { for (i = 2; i <= NF; i++) at[$i] = i - 1 }
		!/^#/ { n += $at["orig_pkts"] + $at["resp_pkts"] } END { printf "%d\n", n }' "$work/log/conn.log"
}

# What the program says that it received: in the rows that it wrote, if it can.
received() {
	case $1 in
	conntap-* | zeek) logged ;;
	softflowd) awk '/^Packets processed:/ { print $3 }' "$work/statistics" ;;
	argus) racount -r "$work/argus.out" | awk '$1 == "sum" { print $3 }' ;;
	tcpdump) awk '/packets captured/ { print $1 }' "$work/out" ;;
	esac
}

# Ends a program, which then writes what it has.
stop() {
	kill -INT "$1"
	timeout 60 tail -f /dev/null --pid="$1" || kill -KILL "$1"
	wait "$1" || true
}

# One run: a line of program, rate, offered, seconds, received, CPU seconds.
measure() {
	local pid cpu sent flags=(--packets "$packets" --flows "$flows" --size "$size")
	[ "$2" = max ] || flags+=(--rate "$2")
	rm -rf "${work:?}"/*
	plug
	start "$1"
	pid=$!
	sent=$(ip netns exec "$sender" ./conntap bench --generate-only -i load0 --json "${flags[@]}" |
		tr -d ' ,"' | awk -F : '{ v[$1] = $2 } END { print v["taken"], v["seconds"] }')
	sleep 2 # for what waits in buffers
	cpu=$(cpu_seconds "$pid")
	if [ "$1" = softflowd ]; then softflowctl -c "$work/control" statistics >"$work/statistics"; fi
	stop "$pid" 2>/dev/null # the shell reports how it ended
	echo "$1 $2 $sent $(received "$1") $cpu"
	unplug
}

echo "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), kernel $(uname -r), $(nproc) CPUs;" \
	"veth, $size-byte UDP frames, $flows flows; $rounds runs of $packets packets at each rate"
results=$work.results
trap 'unplug; rm -rf "$work" "$results"' EXIT
for _ in $(seq "$rounds"); do
	for rate in $rates; do
		for program in $programs; do
			if command -v "${program%%-*}" >/dev/null || [ -x "${program%%-*}" ]; then
				measure "$program" "$rate" >>"$results"
			fi
		done
	done
done

# By rate and program, and beside the first one.
awk '
{
	key = $2 " " $1
	if (!(key in offered)) order[++n] = key
	offered[key] += $3; seconds[key] += $4; received[key] += $5; cpu[key] += $6
}
END {
	printf "%-6s %-16s %9s %9s %8s %10s   %s\n", "rate", "program", "offered", "received", "lost", "CPU", "beside the first"
	printf "%-6s %-16s %9s %9s %8s %10s   %s\n", "", "", "Mpps", "Mpps", "", "ns/packet", "received, CPU"
	for (i = 1; i <= n; i++) {
		key = order[i]
		split(key, name, " ")
		rate = received[key] / seconds[key] / 1e6
		each = received[key] ? cpu[key] / received[key] * 1e9 : 0
		if (name[1] != last) { last = name[1]; first = rate; cheapest = each }
		printf "%-6s %-16s %9.2f %9.2f %6.1f %% %10.0f   %.2f, %.2f\n", name[1], name[2],
			offered[key] / seconds[key] / 1e6, rate, 100 * (1 - received[key] / offered[key]),
			each, rate / first, each / cheapest
	}
}' "$results"
