#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures what conntap costs a host whose own traffic it logs, both directions: the
# throughput of a TCP transfer to and from it, and how long HTTP requests to it take,
# each on a new connection. The host and its peer are network namespaces, with a veth
# pair between them. Rounds with and without conntap alternate, and so does which of
# the two comes first. Needs root, and two CPUs.
#
# As the queues of a network card do, packet steering (RPS) gives all packets of a side
# to one CPU, on which its program runs too. Without that the two CPUs' backlogs of a veth
# pair reorder a transfer, TCP takes that for loss, and throughput is anywhere between a
# third and all of what the CPUs can do, with conntap or without. The congestion control
# is cubic, which takes what there is: BBR would pace the sender.
#
# The bars: at least 95 % of the throughput, at most 5 % more at the 99th percentile;
# exit code 1 if one is missed.
#
#   ROUNDS=15         of each: a round is off by 10 % and more
#   SECONDS_EACH=1    of each transfer
#   REQUESTS=10000    in each round
#   CONNTAP=./conntap
#   FLAGS=            further flags of conntap run
set -euo pipefail
set -m # programs in the background are to hear SIGINT
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-15}
seconds=${SECONDS_EACH:-1}
requests=${REQUESTS:-10000}
conntap=${CONNTAP:-./conntap}
read -ra flags <<<"${FLAGS:-}"
host=conntap-overhead-host-$$
peer=conntap-overhead-peer-$$
work=$(mktemp -d)

PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || { echo "overhead: it takes root: sudo hack/overhead.sh" >&2; exit 1; }
[ "$(nproc)" -ge 2 ] || { echo "overhead: it takes two CPUs" >&2; exit 1; }
[ -x "$conntap" ] || { echo "overhead: no $conntap: make build" >&2; exit 1; }

clean_up() {
	local pids
	pids=$(ip netns pids "$host" 2>/dev/null) || true
	# shellcheck disable=SC2086 # one argument each
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
	ip netns del "$host" 2>/dev/null || true
	ip netns del "$peer" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

on() { ip netns exec "$@"; }

plug() {
	local side
	ip netns add "$host"
	ip netns add "$peer"
	ip link add eth0 netns "$host" type veth peer name eth0 netns "$peer"
	for side in "$host:1" "$peer:2"; do
		ip -n "${side%:*}" addr add "10.9.0.${side#*:}/24" dev eth0
		ip -n "${side%:*}" link set lo up
		ip -n "${side%:*}" link set eth0 addrgenmode none up
	done
	on "$host" sh -c 'echo 2 >/sys/class/net/eth0/queues/rx-0/rps_cpus'
	on "$peer" sh -c 'echo 1 >/sys/class/net/eth0/queues/rx-0/rps_cpus'
	ip netns exec "$host" taskset --cpu-list 1 "$work/traffic" serve &
	disown # its end is nothing to report
	on "$host" iperf3 --server --daemon
	for _ in $(seq 100); do
		[ "$(on "$host" ss -Hltn '( sport = :80 or sport = :5201 )' | wc -l)" -ge 2 ] && return
		sleep 0.1
	done
	echo "overhead: the servers do not start" >&2
	exit 1
}

start() {
	rm -rf "$work/log"
	ip netns exec "$host" "$conntap" run -i eth0 --log-dir "$work/log" ${flags[0]+"${flags[@]}"} 2>"$work/messages" &
	pid=$!
	for _ in $(seq 100); do
		grep -q 'tcp rows appear' "$work/messages" && return
		sleep 0.1
	done
	cat "$work/messages" >&2
	echo "overhead: conntap does not run" >&2
	exit 1
}

# Ends conntap, and takes the line of its account that says what was lost.
stop() {
	kill -INT "$pid"
	wait "$pid"
	account=$(grep '^  seen ' "$work/messages")
}

# Gbit/s of a transfer to the host, with -R from it.
transfer() {
	on "$peer" iperf3 --client 10.9.0.1 --affinity 0,1 --congestion cubic \
		--time "$seconds" --omit 1 --format m "$@" |
		awk '/receiver/ { printf "%.2f\n", $7 / 1000 }'
}

# One measurement: a line of to, from, median, p99.
measure() {
	local to from latency
	to=$(transfer)
	from=$(transfer -R)
	latency=$(on "$peer" taskset --cpu-list 0 "$work/traffic" time 10.9.0.1 "$requests")
	echo "$to $from $latency"
}

go build -o "$work/traffic" ./hack/traffic
plug
on "$peer" "$work/traffic" time 10.9.0.1 "$requests" >/dev/null # warms up
echo "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), kernel $(uname -r), $(nproc) CPUs;" \
	"$rounds rounds of $seconds s each way and $requests requests; conntap run -i eth0 ${flags[*]-}"
echo "round conntap  to it Gbit/s  from it Gbit/s  median µs  p99 µs"
for round in $(seq "$rounds"); do
	order="off on"
	[ $((round % 2)) -eq 1 ] || order="on off"
	for with in $order; do
		[ "$with" = off ] || start
		read -r to from median p99 < <(measure)
		printf '%5d %-7s %14s %15s %10s %7s' "$round" "$with" "$to" "$from" "$median" "$p99"
		account=
		[ "$with" = off ] || stop
		echo "$account"
		echo "$with $to $from $median $p99" >>"$work/results"
	done
done

awk '
# The median, and between which two of the values it is 9 times in 10, whatever their
# distribution.
function median(values,    n, list, i, j, t, rank) {
	n = split(values, list, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && list[j] + 0 < list[j - 1] + 0; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
	rank = int((n + 1 - 1.645 * sqrt(n)) / 2)
	if (rank < 1) rank = 1
	low = list[rank]
	high = list[n + 1 - rank]
	return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
{ for (i = 2; i <= 5; i++) value[$1, NR, i] = $i }
NR % 2 == 0 { # the round is complete
	for (i = 2; i <= 5; i++) {
		on = ("on", NR, i) in value ? NR : NR - 1
		all[i] = all[i] " " 100 * value["on", on, i] / value["off", 2 * NR - 1 - on, i]
	}
}
END {
	name[2] = "to it"; name[3] = "from it"; name[4] = "median request"; name[5] = "p99"
	print "with conntap in % of without, medians of the rounds (and where they are 9 times in 10):"
	for (i = 2; i <= 5; i++) {
		ratio[i] = median(all[i])
		printf "%s%s %.1f %% (%.1f to %.1f)", i == 2 ? "" : ", ", name[i], ratio[i], low, high
	}
	print ""
	missed = ratio[2] < 95 || ratio[3] < 95 || ratio[5] > 105
	print "bars (throughput 95 % at least, p99 105 % at most): " (missed ? "missed" : "held")
	exit missed
}' "$work/results"
