# Every target sets up what it needs: Python 3.11+ (with ensurepip) and make are all a machine must have.
# A working uv is used when found; else the venv's own pip, with hashes required either way.

VENV   ?= .venv
BIN    := $(VENV)/bin
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
            $$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV     := $(shell uv --version >/dev/null 2>&1 && echo uv)
ONCE   ?=
PREFIX ?= $(HOME)/.local
# Compiled once, and not by each of the thousand processes that the tests start.
export PYTHONDONTWRITEBYTECODE :=
# A file's tests share their processes, so files are what the cores divide, the heavy ones (first in order) first.
PYTEST_ARGS ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo run install uninstall pictures containers test test-long coverage check format docs site bench instructions faults soak conformance sbom audit lock clean
.DEFAULT_GOAL := help
.PHONY: help
help:
	@echo "make demo   the whole stack against a simulator, no account needed (ONCE=1: check and exit)"
	@echo "make run    the stack with your own login"
	@echo "make install  the command ccproxy for your user, in ~/.local (PREFIX=…); make uninstall removes it"
	@echo "make test   format, lint, types, architecture, and a test of each promise (8 minutes on 2 cores)"
	@echo "make test-long  the tests that start more real stacks, browsers and programs than one of each kind"
	@echo "make coverage  the lines that unit and contract tests run; too few of them is an error"
	@echo "make docs   the reference pages and example files, from the code"
	@echo "make pictures  the pictures of README and docs, from a running demo"
	@echo "make site   the documentation as a site, in site/"
	@echo "make bench  side-by-side measurements"
	@echo "make instructions  the instructions of a request on each way through a gateway, against their limits (needs valgrind)"
	@echo "make faults  breaks a running stack in every way we know, and writes docs/reliability.md"
	@echo "make soak   what takes many minutes: a thousand requests, a kill among thirty streams, memory (SOAK_MINUTES=15)"
	@echo "make fuzz   ten thousand typed bodies on every way to a provider, then a search for inputs that break a reader;"
	@echo "            FUZZ_MINUTES=60 FUZZ_TARGET=sse searches one target (python -m tests.fuzz.search list; or bodies)"
	@echo "make containers  the images and compose files on the engine that docker finds"
	@echo "make conformance  real clients from their registries, and the table of them; the release on every Python; every case of which make test runs the first"
	@echo "make sbom   the bill of materials of this version, a CycloneDX file in dist/"
	@echo "make audit  the locked packages against known vulnerabilities, without a network (DATABASE=osv.zip)"
	@echo "make lock   pin the requirement locks anew (needs uv)"

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with ensurepip was found on PATH."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp a lock: a changed lock is installed again, an unchanged one costs nothing.
# A uv that cannot reach a package where pip can (it reads no pip.conf) is no reason to fail.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
$(VENV)/%.stamp: %.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the packages of $<; the first time takes about 20 seconds."
	$(if $(UV),uv pip install --quiet --python $(BIN)/python --require-hashes -r $< ||) $(PIP) --require-hashes -r $<
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/requirements-demo.stamp
	$(BIN)/ccproxy demo $(if $(ONCE),--once)

run: $(VENV)/requirements.stamp
	$(BIN)/ccproxy serve

install:
	./deploy/install.sh install "$(PYTHON)" "$(PREFIX)"

uninstall:
	./deploy/install.sh remove "$(PREFIX)"

check: $(VENV)/requirements-dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_architecture.py

format: $(VENV)/requirements-dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# `check` has run the architecture test.
test: check
	$(BIN)/pytest tests --ignore tests/test_architecture.py $(PYTEST_ARGS)

test-long: $(VENV)/requirements-dev.stamp
	$(BIN)/pytest tests -m long $(PYTEST_ARGS)

# Lines that unit and contract tests run, in their own process and in the processes they start.
COVERED_MOST := shared/formats shared/bus shared/permissions,permission_service shared/accounts
COVERING := not matrix and not soak and not faults and not containers and not conformance
COVERAGE := $(BIN)/coverage
coverage: $(VENV)/requirements-dev.stamp
	$(COVERAGE) erase
	$(COVERAGE) run -m pytest tests/unit tests/contract -m "$(COVERING)" $(PYTEST_ARGS) --timeout 300
	$(COVERAGE) combine --quiet
	$(COVERAGE) report --skip-covered --fail-under 90
	for part in $(COVERED_MOST); do \
	  $(COVERAGE) report --skip-covered --fail-under 95 --include "$$(echo $$part | sed 's#,#/*,#g')/*" || exit 1; \
	done

docs: $(VENV)/requirements-dev.stamp
	$(BIN)/python docs/generate.py

# With `make demo` running in another terminal, and chromium and chromedriver on PATH.
pictures: $(VENV)/requirements-dev.stamp
	PYTHONPATH=. $(BIN)/python docs/pictures.py

site: $(VENV)/requirements-dev.stamp
	$(BIN)/zensical build --clean --strict

bench: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

instructions: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m benchmarks.instructions

soak: $(VENV)/requirements-dev.stamp
	$(BIN)/pytest tests/e2e -m soak -rP
	$(BIN)/pytest tests/faults/test_soak.py -m soak -p no:xdist -rP --write-soak-table
	GROUND_TRUTH_REQUESTS=5000 $(BIN)/pytest tests/contract/test_ground_truth.py --timeout 600
	$(MAKE) fuzz-search FUZZ_MINUTES=5

faults: $(VENV)/requirements-dev.stamp
	$(BIN)/pytest tests/faults -m "not soak" -p no:xdist -rs --timeout 300 --write-faults-table

fuzz: $(VENV)/requirements-dev.stamp
	$(if $(filter-out bodies,$(FUZZ_TARGET)),,FUZZ_BODIES=10000 $(BIN)/pytest tests/contract/test_typed_bodies.py tests/contract/test_simulator_shapes.py -n logical)
	$(if $(filter bodies,$(FUZZ_TARGET)),,$(MAKE) fuzz-search)

# Coverage leads the search where the wheel of atheris is for this machine; elsewhere hypothesis searches without it.
FUZZ_MINUTES ?= 5
.PHONY: fuzz-search
fuzz-search: $(VENV)/requirements-dev.stamp
	-$(MAKE) $(VENV)/requirements-fuzz.stamp
	$(BIN)/python -m tests.fuzz.search run $(or $(FUZZ_TARGET),all) --minutes $(FUZZ_MINUTES)

# DOCKER_BUILDKIT and BUILD_NETWORK (docs/how-to/containers.md) reach the builds from the environment.
containers: $(VENV)/requirements-dev.stamp
	$(BIN)/pytest tests/containers -m containers -rPs --timeout 900

conformance: $(VENV)/requirements-dev.stamp
	$(BIN)/pytest tests/clients tests/test_release.py tests/test_supply_chain.py -m "" --write-clients-table
	$(BIN)/pytest tests/e2e/test_dashboard.py -m conformance
	$(BIN)/pytest tests -m matrix $(PYTEST_ARGS)

# The tools of a release, in a venv that nothing else uses.
RELEASE := .cache/release
$(RELEASE)/requirements-release.stamp: requirements-release.lock
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

sbom: $(RELEASE)/requirements-release.stamp
	@$(RELEASE)/bin/python -m deploy.sbom

# docs/how-to/verify.md says where a database comes from.
audit: $(VENV)/requirements.stamp
	@$(BIN)/python -m deploy.audit "$(DATABASE)"

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
lock:
	$(LOCK) --group build pyproject.toml -o requirements.lock
	$(LOCK) --group build --extra bundled-cli -c requirements.lock pyproject.toml -o requirements-demo.lock
	$(LOCK) --group build --extra otel -c requirements.lock pyproject.toml -o requirements-otel.lock
	$(LOCK) --group build --group dev --extra bundled-cli --extra otel -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --group release -o requirements-release.lock
	$(LOCK) --group fuzz -o requirements-fuzz.lock

clean:
	rm -rf $(VENV) site .cache .clients .mypy_cache .ruff_cache .pytest_cache .hypothesis
