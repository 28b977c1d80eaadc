#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows conntap on real traffic: two hosts, that is network namespaces, with a
# cable, that is a veth pair, between them. conntap runs on the server. Nothing
# outside the two namespaces is touched, and they are removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

client=conntap-client-$$
server=conntap-server-$$
messages=$(mktemp)

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

on() {
	as_root ip netns exec "$@"
}

# Ends the programs on the server and waits for them: conntap then writes what is
# open.
stop() {
	local pids
	pids=$(as_root ip netns pids "$server" 2>/dev/null) || return 0 # a user sees no process of root's
	# shellcheck disable=SC2086,SC2116 # one line; the shell's kill: a small system has no other
	[ -z "$pids" ] || as_root sh -c "kill $(echo $pids)" 2>/dev/null || true
	wait
}

clean_up() {
	stop
	as_root ip netns del "$client" 2>/dev/null || true
	as_root ip netns del "$server" 2>/dev/null || true
	rm -f "$messages"
}

command -v ip >/dev/null || PATH=$PATH:/usr/sbin:/sbin
hack/setup.sh demo
[ -x conntap ] || make build
go build -o build/traffic ./hack/traffic
[ "$(id -u)" -eq 0 ] || echo "demo: network namespaces and BPF need root: sudo asks for it, for ip and conntap alone"
as_root true
trap clean_up EXIT

as_root ip netns add "$client"
as_root ip netns add "$server"
as_root ip link add eth0 netns "$client" type veth peer name eth0 netns "$server"
for side in "$client:1" "$server:2"; do
	as_root ip -n "${side%:*}" addr add "10.9.0.${side#*:}/24" dev eth0
	as_root ip -n "${side%:*}" addr add "fd00:9::${side#*:}/64" dev eth0 nodad
	as_root ip -n "${side%:*}" link set lo up
	as_root ip -n "${side%:*}" link set eth0 addrgenmode none up
done
# What goes to 10.9.9.0/24 reaches the server, which throws it away.
as_root ip -n "$client" route add 10.9.9.0/24 via 10.9.0.2
as_root ip -n "$server" route add blackhole 10.9.9.0/24

echo "$ sudo conntap run -i eth0"
on "$server" ./conntap run -i eth0 --format text 2>"$messages" &
on "$server" build/traffic serve &
for _ in $(seq 100); do
	grep -q eth0 "$messages" && [ -n "$(on "$server" ss -Hltn 'sport = :80')" ] && break
	sleep 0.1
done
grep -q eth0 "$messages" || { cat "$messages" >&2; echo "demo: conntap does not run" >&2; exit 1; }
shown=$(wc -l <"$messages")
head -n "$shown" "$messages"

on "$client" build/traffic make 10.9.0.2 fd00:9::2 10.9.9.9
stop
tail -n "+$((shown + 1))" "$messages"
