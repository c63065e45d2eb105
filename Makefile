# Every target can be run on a fresh clone. `make test` installs the Debian packages it needs when it may.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
TOOL     = $(GO) tool -modfile=tools.mod

.PHONY: build run check lint test e2e compose-test bench fuzz tools clean

build: ## the static binary
	$(BUILD) -o cohort ./cmd/cohort

run: ## three nodes on this machine, with commands to try
	$(GO) run ./cmd/cohort dev

lint:
	@test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)" || { echo "gofumpt -w the files above"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

check: lint ## what to run before each commit: under three minutes
	$(GO) test -race -shuffle=on ./...

tools: ## Debian packages the tests use, when this user may install them
	sh e2e/tools.sh

test: tools check ## all but the long ones
	$(GO) test -count=1 -timeout 20m -tags processes ./e2e/...

e2e: tools ## the long ones
	$(GO) test -count=1 -timeout 60m -tags "processes long" ./e2e/...

compose-test: tools ## the shipped docker-compose.yml, with its lord killed, cut off and restarted
	bash e2e/base-images.sh
	$(GO) test -count=1 -timeout 30m -tags compose -run Compose -v ./e2e/...

bench: tools ## ours against the named peer, in the same run, as ratios
	cd e2e/bench && $(GO) run . $(BENCH)

FUZZTIME ?= 10s
fuzz: ## each decoder of strangers' bytes for FUZZTIME
	sh e2e/fuzz.sh $(FUZZTIME)

clean:
	rm -rf cohort cohort-data
