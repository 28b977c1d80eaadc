#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what is handed out: for each architecture a tarball with the static binary,
# manual, completions, unit and what comes beside it, and SHA256SUMS of all. The same
# commit and Go make the same bytes, wherever and whenever.
#
#   VERSION        default: what git describe says
#   ARCHITECTURES  default: amd64 arm64
#
# usage: hack/release.sh [DIR]   (default build/release)
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-build/release}
version=${VERSION:-$(git describe --tags --always --dirty)}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=local
unset GOOS GOARCH # the manual is written by this machine
flags="-s -w -buildid= -X main.version=$version"

# The licences of the modules that are linked in ask to come along.
licences() {
	GOOS=linux go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/conntap |
		sort -u | while read -r module number dir; do
		printf '==== %s %s\n\n' "$module" "$number"
		find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort | xargs -r cat
		printf '\n'
	done
}

# What is the same for all architectures.
common() {
	mkdir -p "$1/completions" "$1/systemd" "$1/prometheus" "$1/grafana"
	cp LICENSE README.md CHANGELOG.md "$1"
	cp bpf/LICENSE "$1/LICENSE.bpf"
	licences >"$1/LICENSES.modules"
	cp hack/systemd/conntap@.service "$1/systemd"
	cp hack/prometheus/conntap.rules.yml "$1/prometheus"
	cp hack/grafana/conntap.json "$1/grafana"
	go build -ldflags "$flags" -o "$work/here" ./cmd/conntap
	"$work/here" man "$1/man"
	"$work/here" completion bash >"$1/completions/conntap.bash"
	"$work/here" completion zsh >"$1/completions/_conntap"
	"$work/here" completion fish >"$1/completions/conntap.fish"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
common "$work/common"
names=()
for architecture in ${ARCHITECTURES:-amd64 arm64}; do
	name=conntap-$version-linux-$architecture
	cp -r "$work/common" "$work/$name"
	GOOS=linux GOARCH=$architecture go build -ldflags "$flags" -o "$work/$name/conntap" ./cmd/conntap
	find "$work/$name" -type f -exec chmod 644 {} + # whatever umask and checkout say
	find "$work/$name" -type d -exec chmod 755 {} +
	chmod 755 "$work/$name/conntap"
	tar -C "$work" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
		gzip -n -9 >"$out/$name.tar.gz"
	names+=("$name.tar.gz")
done
(cd "$out" && sha256sum "${names[@]}" >SHA256SUMS && cat SHA256SUMS)
