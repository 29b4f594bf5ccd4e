# Everything works from a bare checkout: the first target that needs .venv makes it.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= data
CONFIG ?= examples/mirror.yml
QUICK := not clients and not servers and not crash and not scale
T ?=

.DEFAULT_GOAL := help
.PHONY: help demo run dev check fix test quick clients bench clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/ready ## Run the mirror of Docker Hub on :5000, with its data in ./data
	@echo 'Put this into /etc/docker/daemon.json and restart Docker (or send it SIGHUP):'
	@echo '  { "registry-mirrors": ["http://localhost:5000"] }'
	@echo 'Then: docker pull alpine. Stop with Ctrl-C.'
	@REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$(DATA) $(BIN)/roadstead serve $(CONFIG)

demo: .venv/ready ## Show in ten seconds what a mirror does; no network needed
	@$(BIN)/roadstead demo

dev: .venv/ready ## Set up .venv with everything that developing needs

check: .venv/ready ## Check format, lint, types, import rules and documents
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -p no:randomly tests/test_docs.py tests/test_dependencies.py tests/test_examples.py

fix: .venv/ready ## Format, and mend what lint can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

quick: .venv/ready ## Run the quick tests only: make quick T=tests/mirror
	$(BIN)/pytest -m '$(QUICK)' $(T)

test: .venv/ready clients ## Run every test that this machine can run, and say which it cannot
	$(BIN)/pytest -m '' $(T)

clients:
	@scripts/install-clients

bench: .venv/ready ## Measure, beside the peers that are installed
	$(BIN)/pip install --quiet --group bench
	$(BIN)/python -m benchmarks

clean: ## Remove what the other targets made, but not ./data
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Without ensurepip, which a bare Debian lacks: pip installs into the environment from outside.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Roadstead needs Python 3.11 or later; name one with PYTHON=...'; exit 1; }
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@
