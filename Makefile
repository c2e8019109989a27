# Two commands to start with: `make search` and `make test`. Everything else is for those who change the code.
#
# Each environment step leaves a stamp in .venv and runs again only when pyproject.toml, constraints.txt
# or workbench/__init__.py (the version) is newer. PYTHON chooses the interpreter that makes .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PINS   := pyproject.toml constraints.txt workbench/__init__.py
# Processes of the test run; `make test JOBS=0` runs everything in one.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help search test test-slow lint types docs docs-serve env clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

search: $(VENV)/.core ## Search a detector under 3 ms on a T4
	$(BIN)/nas search --budget 3ms --device t4

test: $(VENV)/.full ## The whole test suite but the slow tests
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

test-slow: $(VENV)/.full ## The slow tests alone
	$(BIN)/python -m pytest -q -m slow || test $$? -eq 5  # 5: there is none

lint: $(VENV)/.full ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.full ## Build the pages into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/.full ## Serve the pages on this machine
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

env: $(VENV)/.full ## Only make the environment

clean: ## Remove .venv, caches and built pages; runs/ stays
	rm -rf $(VENV) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.core: $(PINS) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.full: $(PINS) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e ".[train,onnx,openvino,ray,dev]"
	@touch $@ $(VENV)/.core
