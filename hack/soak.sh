#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs conntap at a high rate for a while and watches it: frames made in the kernel
# on one interface, real connections that open and close on another, log files that
# are rotated and compressed, metrics that are scraped. Hosts are network namespaces
# with veth pairs between them. Needs root.
#
# Fails if, after the first third, memory grows, goroutines or descriptors pile up,
# or if at the end a frame or packet is not accounted for, or the rows of all files
# do not add up to the packets of the account.
#
#   SOAK=10m          how long: 30s, 10m, 1h; from 4m on the number of connections is
#                     stationary after the first third (UDP is logged after 60 s)
#   RATE=300k         frames a second, made in the kernel
#   EVERY=5           seconds between two samples
#   CONNTAP=./conntap
#   FLAGS=            further flags of conntap run
set -euo pipefail
cd "$(dirname "$0")/.."

soak=${SOAK:-10m}
rate=${RATE:-300k}
every=${EVERY:-5}
conntap=${CONNTAP:-./conntap}
read -ra flags <<<"${FLAGS:-}"
host=conntap-soak-host-$$
peer=conntap-soak-peer-$$
port=9090
work=$(mktemp -d "${DIR:-/tmp}/conntap-soak.XXXXXX")

PATH=$PATH:/usr/sbin:/sbin
case $soak in
*h) seconds=$((${soak%h} * 3600)) ;;
*m) seconds=$((${soak%m} * 60)) ;;
*) seconds=${soak%s} ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "soak: it takes root: sudo make soak" >&2; exit 1; }
[ -x "$conntap" ] || { echo "soak: no $conntap: make build" >&2; exit 1; }

clean_up() {
	local pids
	pids=$(ip netns pids "$host" 2>/dev/null; ip netns pids "$peer" 2>/dev/null) || true
	# shellcheck disable=SC2086 # one argument each
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
	ip netns del "$host" 2>/dev/null || true
	ip netns del "$peer" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

plug() {
	local side
	ip netns add "$host"
	ip netns add "$peer"
	ip link add eth0 netns "$host" type veth peer name eth0 netns "$peer"
	ip link add eth1 netns "$host" type veth peer name eth1 netns "$peer"
	for side in "$host:1" "$peer:2"; do
		ip -n "${side%:*}" addr add "10.9.0.${side#*:}/24" dev eth0
		ip -n "${side%:*}" link set lo up
		ip -n "${side%:*}" link set eth0 addrgenmode none up
		ip -n "${side%:*}" link set eth1 addrgenmode none arp off up
	done
	ip netns exec "$host" ethtool -K eth1 gro on # or it takes no frames from a program
}

start() {
	ip netns exec "$host" "$work/traffic" serve &
	disown # its end is nothing to report
	ip netns exec "$host" "$conntap" run -i eth0 -i eth1 --log-dir "$work/log" --rotate 1m --compress gzip \
		--metrics ":$port" --account full ${flags[0]+"${flags[@]}"} 2>"$work/messages" &
	pid=$!
	for _ in $(seq 100); do
		if grep -q 'metrics: ' "$work/messages" && [ -n "$(ip netns exec "$host" ss -Hltn 'sport = :80')" ]; then return; fi
		sleep 0.1
	done
	cat "$work/messages" >&2
	echo "soak: conntap does not run" >&2
	exit 1
}

# The metrics, as Prometheus would get them.
scrape() {
	# shellcheck disable=SC2016 # the inner shell's
	ip netns exec "$host" bash -c '
		exec 3<>"/dev/tcp/127.0.0.1/$0"
		printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3
		cat <&3' "$port"
}

# One sample: seconds, MB resident, goroutines, descriptors, connections open, frames
# lost, all at one time.
sample() {
	scrape | awk -v at="$SECONDS" '
		{ sub(/\r/, "") }
		$1 == "process_resident_memory_bytes" { rss = $2 / 1e6 }
		$1 == "go_goroutines" { goroutines = $2 }
		$1 == "process_open_fds" { fds = $2 }
		/^conntap_connections_open[{ ]/ { open += $NF }
		/^conntap_frames_lost_total[{ ]/ { lost += $NF }
		END { printf "%7d %9.1f %10d %11d %9d %9d\n", at, rss, goroutines, fds, open, lost }'
}

# Judges samples: medians of the middle third and of the last one.
judge() {
	awk -v from="$((seconds / 3))" -v to="$((seconds * 2 / 3))" '
	function middle(list, n,    i, j, t) {
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
		return list[int((n + 1) / 2)]
	}
	function check(name, before, after, bound) {
		printf "%s: %.1f in the middle third, %.1f in the last one, %.1f at most: %s\n", name, before, after, bound,
			after > bound ? "FAILED" : "ok"
		if (after > bound) failed = 1
	}
	$1 >= from && $1 < to { n++; rss[n] = $2; routines[n] = $3; fds[n] = $4 }
	$1 >= to { m++; rss2[m] = $2; routines2[m] = $3; fds2[m] = $4 }
	END {
		if (n < 2 || m < 2) { print "too few samples"; exit 1 }
		b = middle(rss, n); check("resident MB", b, middle(rss2, m), b * 1.05 + 4)
		b = middle(routines, n); check("goroutines", b, middle(routines2, m), b + 2)
		b = middle(fds, n); check("descriptors", b, middle(fds2, m), b + 2)
		exit failed
	}' "$work/samples"
}

# Packets in the rows of all files.
logged() {
	local file
	for file in "$work"/log/conn.*; do
		case $file in
		*.gz) zcat "$file" ;;
		*) cat "$file" ;;
		esac
	done | awk -F '\t' '/^#fields/ { for (i = 2; i <= NF; i++) at[$i] = i - 1 }
		!/^#/ { n += $at["orig_pkts"] + $at["resp_pkts"] } END { printf "%d\n", n }'
}

# Checks the account: each equation, and the rows.
balance() {
	local rows
	rows=$(logged)
	tr -d , <"$work/messages" | awk -v rows="$rows" '
	function number(name) { return match($0, name " [0-9]+") ? substr($0, RSTART + length(name) + 1, RLENGTH - length(name) - 1) + 0 : 0 }
	/^  seen / {
		found++
		if (number("seen") != number("recorded") + number("filtered") + number("skipped") + number("lost")) bad = bad "; frames"
		lost = number("lost")
	}
	/^  packets / {
		found++
		counted = number("in connections")
		if (rows != counted) bad = bad "; rows"
	}
	END {
		printf "account: %d packets in connections, %d in the rows of all files, %d frames lost\n", counted, rows, lost
		if (found != 2) bad = bad "; no account"
		if (bad != "") { print "account: does not balance" bad; exit 1 }
		print "account: balances"
	}'
}

go build -o "$work/traffic" ./hack/traffic
plug
start
echo "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), kernel $(uname -r), $(nproc) CPUs; $soak at $rate frames a second"
ip netns exec "$peer" "$conntap" bench --generate-only -i eth1 --rate "$rate" --duration "${seconds}s" --json >"$work/frames" 2>&1 &
frames=$!
ip netns exec "$peer" "$work/traffic" churn 10.9.0.1 "$seconds" >"$work/churn" 2>&1 &
churn=$!
SECONDS=0
echo "seconds      RSS MB goroutines descriptors      open      lost"
while [ "$SECONDS" -lt "$seconds" ] && kill -0 "$pid" 2>/dev/null; do
	sample | tee -a "$work/samples"
	sleep "$every"
done
failed=0
wait "$frames" || { echo "soak: the frames were not made:" && cat "$work/frames" && failed=1; }
wait "$churn" || { echo "soak: the connections were not made:" && cat "$work/churn" && failed=1; }
cat "$work/churn"
sleep 2 # for what waits in buffers
kill -INT "$pid"
wait "$pid" || { echo "soak: conntap ended with exit code $?" && failed=1; }
sed -n '/detached/,$p' "$work/messages"
du --bytes --all "$work/log" | awk -v dir="$work/log" '$2 != dir { n++; bytes += $1 } END { printf "log: %d files, %.1f MB\n", n, bytes / 1e6 }'
judge || failed=1
balance || failed=1
[ "$failed" -eq 0 ] || { echo "soak: FAILED"; exit 1; }
echo "soak: ok"
