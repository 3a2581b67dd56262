# Two commands: `make demo` runs the product, `make test` proves it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO_TARGET_DIR ?= target
BINARY := $(CARGO_TARGET_DIR)/debug/tallygate

.PHONY: demo build release web test chaos fuzz fmt lint bench bench-adapter clean

demo: build
	@exec "$(BINARY)" demo $(ARGS)

build: web
	@echo "building the gateway (the first build compiles every dependency once and takes some minutes)"
	@cargo build --locked --bin tallygate

# What is shipped, in $(CARGO_TARGET_DIR)/shipped: three builds and a training, twenty minutes the first time. docs/performance.md
release: web
	@bench/release.sh

# The dashboard is built only when its sources changed.
web: web/dist/index.html

WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	@echo "building the dashboard"
	@cd web && npm run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@echo "installing the dashboard's packages"
	@cd web && npm ci --no-audit --no-fund --silent
	@touch $@

# Seconds for each fuzz target; not part of `make test`, which replays the corpus.
FUZZ_SECONDS ?= 600

fuzz:
	@fuzz/run.sh $(FUZZ_SECONDS)

test:
	@tests/run.sh

# The fault tables, or the scenarios named in ARGS.
chaos:
	@tests/chaos/run.sh $(ARGS)

# CPU, latency and memory with everything on, beside nginx, on this machine; fails where a budget is missed. docs/performance.md
bench: web
	@bench/run.sh $(ARGS)

# Nanoseconds and allocations of every translation; not part of the tests.
bench-adapter:
	@cargo bench --locked -p tallygate-adapter --bench translate

fmt:
	@cargo fmt --all
	@cd web && npx biome format --write .

lint:
	@cargo clippy --workspace --all-targets --locked -- -D warnings
