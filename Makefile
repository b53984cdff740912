# What a change must pass is `make check`. It needs Go and, for the race
# detector, a C compiler; the product itself is built without C.
GOLANGCI := bin/golangci-lint-v2.15.0
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# A number of inputs and not a time: when a time is over while an input is tried, go test may
# call that a failure ("context deadline exceeded", golang.org/issue/75804).
FUZZTIME ?= 100000x

.PHONY: help build size man run test race plain races lint fuzz bench faults faults-quick soak faults-page web clients check generate generated generators ports
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

# Log files are not compressed, so the library that rotates them needs no zstd. The server speaks
# HTTP/1.1, and what it asks of others (sign-on, zbus proxy) needs no more: HTTP/2 would add 530 KB.
TAGS := timberjack_nozstd,nethttpomithttp2

# What runs once, or when a person asks for it, is compiled without inlining: 210 KB less.
COLD := github.com/rushmore/zbus-go/cmd/zbus github.com/rushmore/zbus-go/internal/cli github.com/rushmore/zbus-go/internal/config \
	github.com/rushmore/zbus-go/internal/daemon github.com/spf13/... github.com/pressly/goose/... github.com/knadh/koanf/... go.yaml.in/... \
	github.com/go-jose/... github.com/DeRuina/... text/template/...
SMALL := -tags $(TAGS) -trimpath $(COLD:%=-gcflags='%=-l')
build: ## build bin/zbus
	CGO_ENABLED=0 go build $(SMALL) -ldflags '-s -w -X main.release=$(VERSION)' -o bin/zbus ./cmd/zbus

# 20 MB, and what PostgreSQL adds: 946,176 bytes of pgconn and 323,584 of the engine (docs/adr/0048-postgresql.md).
MOST_BYTES := $(shell expr 20000000 + 946176 + 323584)
size: ## print the size of the stripped binary, and fail when it exceeds the limit
	@size=$$(mktemp) && trap 'rm "$$size"' EXIT && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build $(SMALL) -ldflags '-s -w' -o "$$size" ./cmd/zbus && \
		bytes=$$(wc -c <"$$size") && echo "$$bytes bytes, of at most $(MOST_BYTES)" && [ "$$bytes" -le $(MOST_BYTES) ]

man: ## write the manual pages into bin/man
	go run -tags man ./cmd/zbus man bin/man

run: build ## build it and serve from ./zbus-data
	bin/zbus

test race bench faults-quick: SHELL := bash
test race bench faults-quick: .SHELLFLAGS := -o pipefail -c
test: ## run all tests, and say which were skipped
	@go test -timeout=10m -json ./... | go run ./internal/testreport
	@go -C $(OTEL) test -timeout=10m -json ./... | go run ./internal/testreport

# A module of its own, so that nobody who uses the client depends on OpenTelemetry.
OTEL := zbus/otelzbus

# SQLite, translated from C, is left out: watching every access to its own memory doubles
# the time. `make races` watches it, too; run that after a change to what SQLite calls
# (internal/storage/sqlite/vfs).
RACE = $(if $(shell command -v $$(go env CC)),-race -gcflags='modernc.org/sqlite/lib=-race=false')
race: ## run all tests with the race detector, where there is a C compiler
	@$(if $(RACE),,echo 'NOT TESTED: data races: the race detector needs a C compiler')
	@go test $(RACE) -timeout=15m -json ./... | go run ./internal/testreport
	@go -C $(OTEL) test $(RACE) -timeout=15m -json ./... | go run ./internal/testreport

plain: ## run the tests of sockets, files and crashes with --plain-sockets and --plain-io
	ZBUS_TEST_PLAIN=1 go test -timeout=10m -count=1 ./internal/server ./internal/storage/sqlite
	ZBUS_TEST_PLAIN=1 ZBUS_FAULTS=quick go test -timeout=10m -count=1 -run '^(TestKills|TestKilledAtAPoint|TestKilledWhileTheSchemaChanges|TestPowerCutsUnderTheBroker)$$' ./internal/crashtest

races: ## repeat that with 1, 2 and 4 processors, to find what one order hides
	go test -race -timeout=20m -count=2 -cpu=1,2,4 ./...

$(GOLANGCI):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(@:bin/golangci-lint-%=%)
	@mv bin/golangci-lint $@

lint: $(GOLANGCI) ## format check and linters
	@$(GOLANGCI) fmt --diff
	@$(GOLANGCI) run
	@cd $(OTEL) && $(CURDIR)/$(GOLANGCI) run

# Request bodies are decoded by a function of our own (tools/templates), which refuses members
# that the contract does not have; the generator's would ignore them. Nothing is generated for
# refusals that are sent before any handler is reached.
BEFORE_HANDLERS := "(405|413|415|421|429|503)": \{ \$$ref
generate: ## generate code from openapi.yaml
	@contract=$$(mktemp --suffix=.yaml) && trap 'rm "$$contract"' EXIT && grep -vE '^ +$(BEFORE_HANDLERS)' openapi.yaml >"$$contract" && \
		go tool -modfile=tools/go.mod oapi-codegen -config internal/api/oapi.yaml "$$contract" && \
		go tool -modfile=tools/go.mod oapi-codegen -config internal/apimodel/oapi.yaml "$$contract"
	@go -C tools run ./aliases ../internal/apimodel/apimodel.gen.go ../internal/api/models.gen.go
	@go -C tools run ./apidocs .. ../internal/api

generators: ## generate clients from openapi.yaml with five generators, and compile them; needs Node
	@tools/generators/run

ports: ## compile everything, tests included, for the systems that nothing is run on here
	@for system in darwin freebsd windows; do echo "==> $$system"; GOOS=$$system go vet ./... || exit 1; done

GENERATED := internal/api/api.gen.go internal/api/asyncapi.gen.yaml.gz internal/api/docs.gen.css.gz internal/api/docs.gen.html.gz internal/api/docs.gen.js.gz internal/api/models.gen.go internal/api/openapi.gen.yaml.gz internal/api/permissions.gen.go internal/api/queries.gen.go internal/apimodel/apimodel.gen.go
generated: ## fail when generated code is not what openapi.yaml says, after bringing it up to date
	@before=$$(cksum $(GENERATED)); $(MAKE) --no-print-directory generate || exit 1; \
	[ "$$before" = "$$(cksum $(GENERATED))" ] || { echo "$(GENERATED): were out of date; see what changed" >&2; exit 1; }

fuzz: ## try FUZZTIME inputs (100000x) with every fuzz target
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file target; do \
		go test "$$(dirname "$$file")" -run='^$$' -fuzz="^$${target#func }$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1000x || exit 1; done

bench: ## run the benchmarks six times into bench/, for benchstat
	@mkdir -p bench
	go test -run='^$$' -bench=. -benchmem -count=6 ./... | tee bench/$(VERSION)-$(shell date +%Y%m%dT%H%M%S).txt

# The fault tests are those in files that record figures (internal/faultreport). For hours they
# run one after the other, so that none disturbs another's moments. For minutes packages run at
# the same time, and so do the tests that mostly wait (t.Parallel).
FAULT_REPORT := docs/reliability-report.json
FAULT_FILES := grep -rlE --include='*_test.go' 'faultreport\.(Record|Scale)' cmd internal | grep -v '^internal/faultreport/'
TEST_NAMES := xargs grep -hoE '^func Test[A-Za-z0-9_]+' | sed 's/func //' | paste -sd'|'
define faults
	@$(FAULT_FILES) | xargs -n1 dirname | sort -u | while read -r dir; do \
		tests=$$($(FAULT_FILES) | grep "^$$dir/[^/]*$$" | $(TEST_NAMES)); \
		echo "==> ./$$dir"; $(1) go test ./$$dir -run "^($$tests)$$" -count=1 -p=1 -parallel=1 -v $(2) || exit 1; done
endef

faults: ## break the broker in every way we know, as root, for hours; figures in docs/reliability.md
	$(call faults,ZBUS_FAULTS=full ZBUS_CLOCK_STEPS=1 ZBUS_FAULT_REPORT=$(CURDIR)/$(FAULT_REPORT),-timeout=10h)
	go test ./internal/contract -run 'CountsWhatBrowsingShows' -rapid.checks=500 -count=1 -timeout=120m -v
	@$(MAKE) --no-print-directory faults-page

faults-quick: ## the same in minutes, at most ten with two processors, and no figures
	@ZBUS_FAULTS=quick go test $$($(FAULT_FILES) | xargs -n1 dirname | sort -u | sed 's|^|./|') -run "^($$($(FAULT_FILES) | $(TEST_NAMES)))$$" \
		-count=1 -p=2 -parallel=4 -timeout=30m -json | go run ./internal/testreport

SOAK ?= 10m
soak: ## let clients of all kinds come and go for SOAK (10m); figures in docs/reliability.md
	ZBUS_SOAK=$(SOAK) ZBUS_FAULT_REPORT=$(CURDIR)/$(FAULT_REPORT) go test ./internal/crashtest -run '^TestSoak$$' -count=1 -timeout=0 -v
	@$(MAKE) --no-print-directory faults-page

faults-page: ## render docs/reliability.md from the figures
	@go run ./internal/faultreport/page $(FAULT_REPORT) docs/reliability.md

# Node is needed for this alone: what npm run build makes is committed.
web: ## check, test and build the console (needs Node 20 and, end to end, Chromium)
	@command -v npm >/dev/null || { echo 'NOT TESTED: the console: no npm'; test -z "$$CI"; exit; }; \
		cd webui && for step in 'npm ci --ignore-scripts' 'npm run -s schema' 'npm run -s check' 'npm run -s test' 'npm run -s build' \
		'git diff --exit-code --stat -- dist dist.sum src/api' 'npm run -s size' 'npm run -s e2e'; do echo "==> $$step"; $$step || exit 1; done

clients: ## check and test the clients for other languages (needs Node 20, Chromium and Python 3.11)
	@dir=$$(mktemp -d) && trap 'rm -r "$$dir"' EXIT && go build -o "$$dir/zbus" ./cmd/zbus && export BROKER="$$dir/zbus" && \
	if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo '==> python3 -m unittest' && (cd clients/python && python3 -B -W ignore::ResourceWarning -m unittest) || exit 1; \
	else echo 'NOT TESTED: the Python client: no Python 3.11'; test -z "$$CI" || exit 1; fi; \
	command -v npm >/dev/null || { echo 'NOT TESTED: the TypeScript client: no npm'; test -z "$$CI"; exit; }; \
		cd clients/js && for step in 'npm ci --ignore-scripts' 'npm run -s schema' 'git diff --exit-code --stat -- src/schema.ts' 'npm run -s check' \
		'npm run -s build' 'npm run -s size' 'npm run -s test'; do echo "==> $$step"; $$step || exit 1; done

check: ## everything a change must pass
	@for step in 'go mod verify' 'go -C $(OTEL) mod verify' '$(MAKE) generated' '$(MAKE) size' '$(MAKE) lint' '$(MAKE) race' '$(MAKE) web' '$(MAKE) clients' '$(MAKE) fuzz'; do echo "==> $$step"; $$step || exit 1; done
