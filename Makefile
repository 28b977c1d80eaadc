# SPDX-License-Identifier: Apache-2.0

VERSION  ?= $(shell git describe --tags 2>/dev/null)
FUZZTIME ?= 60s
FUZZREST ?= $(FUZZTIME)
SMP      ?= 2
SOAK     ?= 10m

C_FILES  = bpf/*.c bpf/*.h
SCRIPTS  = .ci/run hack/*.sh hack/testkernel/run

.DEFAULT_GOAL := help
.PHONY: help build test test-kernel fuzz bench soak lint fmt generate demo check clean release

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./conntap, one static binary; needs Go alone
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o conntap ./cmd/conntap

test: ## run all tests; as root also those in the kernel and on interfaces
	@[ "$$(id -u)" -ne 0 ] || hack/setup.sh test
	go test $(TESTFLAGS) ./...

test-kernel: ## run the tests in Debian's kernel 6.1 under QEMU (SMP=2)
	@hack/setup.sh testkernel
	SMP=$(SMP) hack/testkernel/run

fuzz: ## run every fuzz target, two at a time (FUZZTIME=60s each)
	hack/fuzz.sh $(FUZZTIME) $(FUZZREST)

bench: build ## measure: Go benchmarks, beside softflowd and argus, memory, what it costs a host
	@hack/setup.sh bench
	hack/bench.sh
	hack/compare.sh
	[ "$$(id -u)" -ne 0 ] || hack/compare-live.sh
	hack/memory.sh
	[ "$$(id -u)" -ne 0 ] || hack/overhead.sh

soak: build ## run at a high rate and watch memory, goroutines, descriptors, the account (SOAK=10m)
	@hack/setup.sh bench
	SOAK=$(SOAK) hack/soak.sh

lint: ## check format and code: gofumpt, vet, staticcheck, clang-format, shellcheck
	@hack/setup.sh lint
	@files=$$(gofmt -l bpf cmd collector tracker hack; go tool gofumpt -l .); \
		[ -z "$$files" ] || { echo "not formatted, run make fmt:" $$files; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...
	GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/conntap
	go tool staticcheck ./...
	clang-format --dry-run -Werror $(C_FILES)
	shellcheck $(SCRIPTS)

fmt: ## format Go and C
	@hack/setup.sh lint
	go tool gofumpt -w .
	clang-format -i $(C_FILES)

generate: ## compile the BPF programs; the committed object is Debian's clang 14's
	@hack/setup.sh generate
	go generate ./collector ./cmd/conntap/internal/bench

release: ## static tarballs for amd64 and arm64 with checksums, in build/release (VERSION=)
	VERSION=$(VERSION) hack/release.sh

demo: build ## watch conntap on real traffic between two network namespaces
	hack/demo.sh

check: ## do all that CI does
	.ci/run

clean: ## remove what was built
	rm -rf conntap build
