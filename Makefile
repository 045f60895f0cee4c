# Every target sets up what it needs; see README.md.
# Runs a program as the parent of its orphans: nothing is left to whoever started make.
PYTHON_RUN := .venv/bin/python -m simulator.rig.reaper .venv/bin/python
SOURCES := cowpoke bridge worker simulator tests celeryconfig.py

.PHONY: demo demo-host test coverage lint format bench scale chaos setup lock clean

demo: setup  ## run the main job once on this machine and show it
	@$(PYTHON_RUN) -m simulator.demo

demo-host: setup  ## show a host that joins, runs a stack, is taken over and leaves; needs root
	@$(PYTHON_RUN) -m simulator.demo_host

# Tests mostly wait: one process per core; JOBS=0 runs them in one.
JOBS ?= auto
PYTEST = $(PYTHON_RUN) -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

test: setup  ## run the whole test suite; TESTS=tests/unit runs a part
	@$(PYTEST) $(TESTS)

coverage: setup  ## the same, and measure which lines and branches it runs; slower
	@$(PYTEST) --cov --cov-report=term $(TESTS)

lint: setup  ## style, types and the direction of imports
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/lint-imports

format: setup  ## let ruff put the sources into shape
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

bench: setup  ## measure against the raw Engine, see docs/performance.md; OPTIONS=--quick is short
	@$(PYTHON_RUN) -m simulator.bench $(OPTIONS)

scale: setup  ## measure many hosts at rest, see docs/performance.md; OPTIONS="--hosts 1000" is short
	@$(PYTHON_RUN) -m simulator.scale $(OPTIONS)

chaos: setup  ## kill parts under load and account for every event
	@$(PYTHON_RUN) -m simulator.chaos

setup:
	@scripts/setup

lock:  ## write the lock files anew from pyproject.toml
	@scripts/lock

clean:  ## remove everything that setup and the tools made here
	rm -rf .venv .setup.lock .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache $(HOME)/.cache/cowpoke
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
