# What a developer and the CI run. The tools are pinned by go.mod.

GO       ?= go
FUZZTIME ?= 10s
SIMTIME  ?= 60s
SIMSEEDS ?= 500
BENCHTIME ?= 1s

.DEFAULT_GOAL := build
.PHONY: build test vet lint fmt fmt-check e2e attack hostile bench fuzz simulate node release package-test telegraf-test promql-test ci

# What tests run in Node.js: an OpenID Connect provider, and DuckDB. Each has a lock file.
NODE_PACKAGES := auth/source/testdata/provider archive/parquet/testdata/duckdb

build: # the program, as ./ringstore
	$(GO) build -o ringstore ./cmd/ringstore

test:
	$(GO) test -race ./...

vet:
	$(GO) vet ./...

lint:
	$(GO) tool staticcheck ./...

fmt:
	$(GO) tool gofumpt -w .

fmt-check: # fails if there is a file to format, and names it
	@unformatted=$$($(GO) tool gofumpt -l .) || exit; \
	test -z "$$unformatted" || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }

e2e: # the real program over real HTTP and NATS; never from the cache
	$(GO) test -race -count=1 ./cmd/...

attack: # what hostile senders cost a fresh server; shortly: memory and losses decide, response times are printed
	$(GO) run ./scripts/attack -short $(ATTACKFLAGS)

hostile: # the tables of hostile tokens, of routes by method and role, and of what queries show, in full
	$(GO) test -count=1 -run '^(TestResponsesShowOnlyVisibleData|TestEveryCell|TestTokenTable)$$' ./api/rest ./auth

bench: # the packages' benchmarks, then the whole server
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...
	$(GO) run ./scripts/bench $(BENCHFLAGS)

fuzz: # every fuzz target for FUZZTIME
	GO='$(GO)' scripts/fuzz $(FUZZTIME)

simulate: # servers on disks that fail, for SIMTIME: fixed seeds, then fresh ones
	GO='$(GO)' scripts/simulate -seeds $(SIMSEEDS) -for $(SIMTIME)

node: # what tests run in Node.js, from lock files; without npm these tests are skipped
	@command -v npm >/dev/null || { echo "npm is missing: tests against an OpenID Connect provider and DuckDB will be skipped"; exit 0; }; \
	for package in $(NODE_PACKAGES); do \
		npm ci --ignore-scripts --no-audit --no-fund --prefix $$package || exit; \
	done

release: # programs, packages, bills of materials and checksums, in ./dist; RELEASEFLAGS='-version 1.2.3'
	$(GO) run ./scripts/release $(RELEASEFLAGS)

package-test: # installs, upgrades and purges the deb in a fresh Debian, runs the container; skips what needs root, dpkg or rpm without them
	RINGSTORE_PACKAGE_TEST=1 $(GO) test -count=1 -v ./scripts/release

telegraf-test: # builds the real Telegraf, which writes to the program; 2 min and 0.6 GB the first time, skipped where it is not to be downloaded
	RINGSTORE_TELEGRAF_TEST=1 $(GO) test -race -count=1 -timeout 20m -v -run '^TestRealTelegraf$$' ./cmd/e2e

promql-test: # builds Prometheus 3.16 and promtool, and compares their answers with ours; 10 min and 1 GB the first time
	$(GO) run ./scripts/promql -measure

ci: fmt-check vet lint build test hostile e2e
