# Everything that a person or a machine runs here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A name can be there and not run (a pyenv shim without its version), so each is tried.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.11 python3.13 python3.12 python3; do \
	$$name -c '$(SUPPORTED)' 2>/dev/null && { command -v $$name; break; }; done)

.PHONY: help venv engines lint lock test torture demo bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

venv: $(STAMP) ## a virtual environment in .venv with the package, the tests' and the linters' needs

$(STAMP): pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11, 3.12 or 3.13 found: install one, or say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || [ -x $(BIN)/pip ] || { \
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		echo "$(PYTHON) cannot make virtual environments: apt-get install $$package"; \
		[ "$$(id -u)" = 0 ] && apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
			install --yes --no-install-recommends $$package >/dev/null; }
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --compile-bytecode -e '.[test,lint]'
	@touch $@

engines: ## registry, Docker, arm64 emulation, buildah … from apt, where root or sudo allows; BuildKit, kaniko, Kubernetes from Go modules
	@tests/engines/install.sh

lint: venv ## format, lint, types, and which part may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The image's packages are pinned with their hashes, so that the same checkout makes the same image on any day.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
lock: venv ## the packages of the publisher's own image, as of today
	$(LOCK) pyproject.toml --extra domino --extra kubernetes --extra s3 --output-file publisher/ownimage/requirements.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(LOCK) --output-file publisher/ownimage/build-requirements.txt -

# Three processes even on two processors, each with servers of its own: much of the time is waiting for those.
# tests/order.py says in which order they get the files.
test: venv engines lint ## all tests; make test ARGS='tests/unit -k layer' for some
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

torture: venv engines ## 200 rounds of kill -9, 20 rounds of 16 publishers on one version: about half an hour
	PUBLISHER_ROUNDS=200 $(BIN)/python -m pytest tests/faults/test_kill.py tests/faults/test_many.py -s $(ARGS)

demo: venv engines ## the whole way with real parts: train, tag, publish, run on two architectures
	$(BIN)/python examples/demo.py

bench: venv engines ## the benchmarks: ratios measured in one run
	$(BIN)/python benchmarks/run.py

clean: ## remove what make made in this folder
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find publisher tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
