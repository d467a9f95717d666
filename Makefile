# accd: what can be done here. `make` alone lists it.
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   = -s -w -X main.version=$(VERSION)
TOOL      = $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 10s
SEEDS    ?= 20000
SPEND    ?= 22s# by each of the eight kinds of random networks
ROUNDS   ?= 3# of make bench, at least
# empty if make bench leaves the peer out
for-peer  = $(findstring $(1),$(or $(PEERS),$(1)))
RACE      = CGO_ENABLED=1 $(GO) test -race

.DEFAULT_GOAL := help
.PHONY: help build demo test unit e2e e2e-firewall e2e-peers lint sim sim-share soak-virtual congestion fuzz fuzz-flow bench bench-micro bench-scale clean deps-bench deps-demo deps-test FORCE

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: bin/accd ## build bin/accd, one static binary

bin/accd: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/accd

demo: deps-demo build ## a whole accelerated WAN on this machine, in namespaces (root)
	./bin/accd demo

test: deps-test ## vet, and every test but e2e with the race detector; as root nothing is skipped
	$(GO) vet ./...
	$(RACE) $$($(GO) list ./... | grep -v /e2e)
	$(GO) test ./tcpstack/simnet # its tables and all its networks: pure code, slow under the race detector

e2e: deps-test build bin/peer-gvisor ## real programs through accd in namespaces (root)
	ACCD_BIN=$(CURDIR)/bin/accd PEER_GVISOR=$(CURDIR)/bin/peer-gvisor $(GO) test -v -count=1 -timeout 20m ./e2e/...

e2e-firewall: deps-test build bin/peer-gvisor ## the same where the box has a firewall that knows connections, so that packets take no shortcut (root)
	ACCD_BIN=$(CURDIR)/bin/accd PEER_GVISOR=$(CURDIR)/bin/peer-gvisor $(GO) test -v -count=1 -timeout 20m ./e2e -firewall

e2e-peers: deps-test build bin/peer-gvisor ## every combination of TCP stacks, options and losses through accd (root); results in bin/e2e-peers.jsonl
	ACCD_BIN=$(CURDIR)/bin/accd PEER_GVISOR=$(CURDIR)/bin/peer-gvisor $(GO) test -v -count=1 -timeout 30m ./e2e -run '^TestPeers$$' -peers.all -peers.out $(CURDIR)/bin/e2e-peers.jsonl

bin/peer-gvisor: FORCE # a module of its own: what gVisor needs, accd does not
	cd e2e/peers/gvisor && CGO_ENABLED=0 $(GO) build -o $(CURDIR)/$@ .

lint: ## gofmt, vet, staticcheck, golangci-lint (the tools are built on first use)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt would change:" $$unformatted; exit 1; }
	$(GO) vet ./...
	cd e2e/peers/gvisor && $(GO) vet .
	cd e2e/bench/gvisor && $(GO) vet .
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run ./...

sim: ## many more random networks than `make test` runs: make sim SEEDS=100000
	$(GO) test ./tcpstack/simnet -count=1 -timeout 0 -run 'Random|Forged|Faultless|Split|Early' -seeds $(SEEDS)

sim-share: ## as many as fit in 3 minutes of a core, from one at random on, of those that `make sim SEEDS=100000` runs: what CI does
	$(GO) test ./tcpstack/simnet -count=1 -timeout 0 -v -run 'Random|Forged|Faultless|Split|Early' -seeds 100000 -spend $(SPEND)

soak-virtual: ## 60 days of virtual time: 17 GiB through one connection, timestamps that come round, silences, closed windows
	$(GO) test ./tcpstack/simnet -count=1 -v -timeout 30m -run TestSixtyDays -soak

congestion: ## the tables of docs/congestion.md, with what they promise (minutes)
	$(GO) test ./tcpstack/simnet -count=1 -timeout 0 -run Congestion -tables -update

fuzz: ## every fuzz target for a while: make fuzz FUZZTIME=10m
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test $$pkg -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x; \
	  done; done

fuzz-flow: ## ten million mutated packets against a flow with 64 honest ones alongside
	$(GO) test ./terminator -count=1 -timeout 0 -v -run '^TestFlowUnderAttack$$' -packets 10000000

bench: build bin/bench $(if $(call for-peer,gvisor),bin/bench-gvisor) $(if $(call for-peer,haproxy),deps-bench) ## accd and others between a client and a server (root): make bench PEERS=accd,kernel QUICK=1
	./bin/bench -peers '$(PEERS)' -measures '$(MEASURES)' -rounds $(ROUNDS) $(if $(QUICK),-quick)

bin/bench: FORCE
	$(GO) build -o $@ ./e2e/bench

bench-scale: ## 1 thousand to 1 million flows between queues in memory: what each costs
	for n in 1 $$(nproc); do GOGC=200 $(GO) test ./terminator -run '^TestScale$$' -count=1 -v -scale 1000000 -scale.shards $$n || exit; done

bin/bench-gvisor: FORCE # a module of its own: what gVisor needs, accd does not
	cd e2e/bench/gvisor && CGO_ENABLED=0 $(GO) build -o $(CURDIR)/$@ .

bench-micro: ## the benchmarks of the data path's packages
	$(GO) test -run '^$$' -bench . -benchmem ./tcpstack/... ./splice/... ./terminator/...

clean: ## remove what was built
	rm -rf bin demo-report.html

deps-demo:
	@deploy/install-tools nginx:nginx-light curl:curl

deps-test:
	@deploy/install-tools nginx:nginx-light curl:curl gcc:gcc,libc6-dev ip:iproute2 nft:nftables

deps-bench:
	@deploy/install-tools haproxy:haproxy nft:nftables
