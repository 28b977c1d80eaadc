#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what a make target needs beside Go, on Debian and its kin, if it is
# not there yet.
#
# usage: hack/setup.sh [all|demo|test|generate|lint|testkernel|bench]...
set -euo pipefail

# A tool, as a command or a file, and the package that brings it.
demo=(ip:iproute2)
test=(ip:iproute2 ethtool:ethtool iperf3:iperf3 python3:python3 tcpdump:tcpdump)
generate=(clang:clang llvm-strip:llvm /usr/include/bpf/bpf_helpers.h:libbpf-dev)
lint=(clang-format:clang-format shellcheck:shellcheck)
testkernel=(qemu-system-x86_64:qemu-system-x86 cpio:cpio xz:xz-utils)
bench=(softflowd:softflowd argus:argus-server racount:argus-client tcpdump:tcpdump ip:iproute2 ethtool:ethtool sysctl:procps iperf3:iperf3)

missing=()
collect() {
	local pair
	for pair in "$@"; do
		[ -e "${pair%%:*}" ] || command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
}

PATH=$PATH:/usr/sbin:/sbin
for group in "${@:-all}"; do
	case $group in
	all) collect "${test[@]}" "${generate[@]}" "${lint[@]}" "${testkernel[@]}" "${bench[@]}" ;;
	demo) collect "${demo[@]}" ;;
	test) collect "${test[@]}" ;;
	generate) collect "${generate[@]}" ;;
	lint) collect "${lint[@]}" ;;
	testkernel) collect "${testkernel[@]}" ;;
	bench) collect "${bench[@]}" ;;
	*) echo "usage: hack/setup.sh [all|demo|test|generate|lint|testkernel|bench]..." >&2 && exit 2 ;;
	esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
if ! command -v apt-get >/dev/null || ! command -v "${root[@]:-true}" >/dev/null; then
	echo "setup: missing; please install: ${missing[*]} (sudo apt-get install ${missing[*]})" >&2
	exit 1
fi
echo "setup: installing ${missing[*]}${root:+, with sudo}"
"${root[@]}" apt-get -qq update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
