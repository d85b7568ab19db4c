# make            build simrun and test everything
# make help       what else there is

GO          ?= go
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  ?= $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
FUZZTIME    ?= 30s
TIMEOUT     ?= 15m

.PHONY: all
all: build test

.PHONY: help
help:
	@echo 'make build   build ./simrun'
	@echo 'make test    gofmt, go vet, staticcheck, actionlint, and all tests with the race detector'
	@echo 'make test-containers  the tests of containers alone, with an engine that is started for them'
	@echo 'make isolation-check  compare cells in containers with those in namespaces, and their times'
	@echo 'make lint    the checks of the source alone'
	@echo 'make bench   all benchmarks, in some eight minutes'
	@echo 'make accuracy  write docs/accuracy.md: how far faults are from what is declared'
	@echo 'make clock-check  compare the library on the virtual clock with the real one (CLOCK_FLAGS narrows it)'
	@echo 'make arm64-check  run the tests of the virtual clock on an emulated arm64 machine (root, Debian)'
	@echo 'make slow-run  run 1,000 of the slowest cells on the virtual clock'
	@echo 'make long-run  run CELLS ($(CELLS)) healthy cells, and see that memory stays flat and nothing is left'
	@echo 'make kill-run  run the library while its labs are killed at random'
	@echo 'make shard-check  run the library in one and in five shards, two of them interrupted, and compare'
	@echo 'make claims  run the cells of docs/claims.md, and write it'
	@echo 'make sample  run the whole library, and write docs/sample/report.html and its screenshot'
	@echo 'make fuzz    each fuzz test for FUZZTIME ($(FUZZTIME))'
	@echo 'make cover   test coverage by function, and cover.html'
	@echo 'make release build dist/: archives for Linux and macOS on amd64 and arm64, and their checksums'
	@echo 'make clean   remove what the other targets made'

.PHONY: build
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o simrun ./cmd/simrun

VERSION ?= $(shell git describe --tags --always --dirty)
.PHONY: release
release:
	rm -rf dist
	GO='$(GO)' .ci/release '$(VERSION)' dist

.PHONY: test
test: lint
	$(GO) test -race -timeout=$(TIMEOUT) ./...
	cd docs/examples && $(GO) test ./...

# Takes root, and Debian's packages; see .ci/engine.
.PHONY: test-containers
test-containers:
	@set -e; dir=$$(mktemp -d /tmp/engine.XXXX); trap '.ci/engine stop "$$dir"' EXIT; eval "$$(.ci/engine start "$$dir")"; \
	SIMRUN_REQUIRE_ENGINE=1 $(GO) test -race -timeout=$(TIMEOUT) ./harness/container && \
	SIMRUN_REQUIRE_ENGINE=1 $(GO) test -race -timeout=$(TIMEOUT) -run='^TestContainer|^TestImage|^TestSwarm|^TestScript$$/^container$$' ./cmd/simrun

# How containers compare with namespaces: the same cells in both, with a table of their seconds.
.PHONY: isolation-check
isolation-check:
	@set -e; dir=$$(mktemp -d /tmp/engine.XXXX); trap '.ci/engine stop "$$dir"' EXIT; eval "$$(.ci/engine start "$$dir")"; \
	SIMRUN_REQUIRE_ENGINE=1 $(GO) test -count=1 -v -run='^TestContainerCellsAreThoseOfNamespaces$$' ./cmd/simrun -isolation-check

.PHONY: lint
lint:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "run gofmt -w on:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	cd docs/examples && $(GO) vet ./...
	$(STATICCHECK) ./...
	$(ACTIONLINT) .github/workflows/*.yml docs/examples/github-*.yml

.PHONY: bench
bench:
	$(GO) test -run='^$$' -bench=. -skip='^Benchmark(Cell|VirtualClock)$$' -benchmem ./...
	$(GO) test -run='^$$' -bench='^Benchmark(Cell|VirtualClock)$$' -benchtime=25x -timeout=20m ./harness

.PHONY: accuracy
accuracy:
	$(GO) test -count=1 -p 1 -timeout=20m -run='^TestAccuracy' ./harness/lab ./harness -accuracy -v

.PHONY: clock-check
clock-check:
	$(GO) test -count=1 -timeout=4h -run='^TestClocksAgree$$' ./harness -v -clock-check $(CLOCK_FLAGS)

.PHONY: arm64-check
arm64-check:
	.ci/arm64

.PHONY: slow-run
slow-run:
	$(GO) test -count=1 -timeout=2h -run='^TestSlowCells$$' ./harness -slow-run -v

CELLS ?= 50000
.PHONY: long-run
long-run:
	$(GO) test -count=1 -timeout=4h -run='^TestLongRun$$' ./harness -long-run=$(CELLS) -v

.PHONY: kill-run
kill-run:
	$(GO) test -count=1 -timeout=2h -run='^TestLabsAreKilled$$' ./harness -kill-run -v

.PHONY: shard-check
shard-check:
	$(GO) test -count=1 -timeout=4h -run='^TestLibraryInShards$$' ./cmd/simrun -shard-check -shard-flags='$(SHARD_FLAGS)' -v

.PHONY: claims
claims:
	$(GO) test -count=1 -timeout=40m -run='^TestClaims$$' ./harness -claims

# The names of the hosts of Go's own defaults are replaced: which ones they are depends on the go command.
SAMPLE       ?= docs/sample
SAMPLE_FLAGS ?=
.PHONY: sample
sample:
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(GO) build -trimpath -o "$$dir/simrun" ./cmd/simrun; \
	"$$dir/simrun" run --out "$$dir/simrun-out" --quiet $(SAMPLE_FLAGS) || [ $$? -eq 1 ]; \
	proxy=$$($(GO) env GOPROXY | sed 's|^https://||; s|[,|].*||'); sumdb=$$($(GO) env GOSUMDB); \
	mkdir -p $(SAMPLE) "$$dir/library"; \
	sed "s|$$proxy|proxy.test|g; s|$$sumdb|sum.test|g" "$$dir/simrun-out/results.jsonl" >"$$dir/library/results.jsonl"; \
	"$$dir/simrun" report "$$dir/library"; \
	sed "s|$$dir/library|simrun-out|g" "$$dir/library/report.html" >$(SAMPLE)/report.html; \
	if chromium=$$(command -v chromium); then \
		$$chromium --headless=new --no-sandbox --hide-scrollbars --window-size=1280,1400 \
			--user-data-dir="$$dir/chromium" --screenshot=$(SAMPLE)/report.png "file://$(abspath $(SAMPLE))/report.html" 2>"$$dir/chromium.log" || { cat "$$dir/chromium.log"; exit 1; }; \
	else echo 'no chromium, so no screenshot'; fi

.PHONY: fuzz
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list='^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; \
			$(GO) test -run='^$$' -fuzz="^$$f\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=10x $$pkg || exit 1; \
		done; \
	done

.PHONY: cover
cover:
	$(GO) test -coverprofile=cover.out -coverpkg=./... ./...
	$(GO) tool cover -func=cover.out
	$(GO) tool cover -html=cover.out -o cover.html

.PHONY: clean
clean:
	rm -rf simrun dist cover.out cover.html
