PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: help install demo lint format test test-slow faults bench clean

help:  ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/installed  ## Make .venv with everything in it

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "autoprune needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## Search a smaller network of experiments/digits-auto, in about a minute
	$(BIN)/autoprune run experiments/digits-auto/config.yml --no-server

lint: install  ## Style, types, and the arrows between packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## Put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: install  ## The tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not faults"

test-slow: install  ## The slow tests (under 40 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not faults"

faults: install  ## Kill managers at random moments, for long
	$(BIN)/python -m pytest -n $(WORKERS) -m faults

bench: install  ## Measure what running trials costs
	$(BIN)/python benchmarks/manager.py

clean:  ## Remove what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
