# What a developer and the CI run. The tools are pinned by go.mod.

GO       ?= go
FUZZTIME ?= 10s
BENCHTIME ?= 1s

.DEFAULT_GOAL := build
.PHONY: build test vet lint fmt fmt-check e2e bench fuzz ci

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

bench: # the packages' benchmarks, then the whole server
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...
	$(GO) run ./scripts/bench $(BENCHFLAGS)

fuzz: # every fuzz target for FUZZTIME
	GO='$(GO)' scripts/fuzz $(FUZZTIME)

ci: fmt-check vet lint build test e2e
