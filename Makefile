# Every target sets up what it needs; see README.md. `make` alone lists the targets.
# Runs a program as the parent of its orphans: nothing is left to whoever started make.
PYTHON_RUN := .venv/bin/python -m simulator.rig.reaper .venv/bin/python
SOURCES := cowpoke bridge worker simulator tests celeryconfig.py

.DEFAULT_GOAL := help
.PHONY: help demo demo-host dev test coverage lint format bench scale chaos docs pictures setup ready lock
.PHONY: clean

help:  ## list the targets
	@echo 'usage: make TARGET [OPTIONS="..."]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo:  ## run the main job once on this machine and show it
	@scripts/need-engine demo
	@scripts/setup
	@$(PYTHON_RUN) -m simulator.demo

demo-host:  ## show a host that joins, runs a stack, is taken over and leaves; needs root
	@scripts/need-engine demo-host --root
	@scripts/setup
	@$(PYTHON_RUN) -m simulator.demo_host

dev:  ## run the system here; a change of its sources restarts bridge and worker without a lost event
	@scripts/need-engine dev
	@scripts/setup
	@$(PYTHON_RUN) -m simulator.dev $(OPTIONS)

# Tests mostly wait: one process per core; JOBS=0 runs them in one.
JOBS ?= auto
PYTEST = $(PYTHON_RUN) -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

test: ready  ## run the whole test suite; TESTS=tests/unit runs a part
	@$(PYTEST) $(TESTS)

coverage: ready  ## the same, and measure which lines and branches it runs; slower
	@$(PYTEST) --cov --cov-report=term $(TESTS)

lint: ready  ## check style, types and the direction of imports
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/lint-imports

format: ready  ## let ruff put the sources into shape
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

bench: ready  ## measure against the raw Engine, see docs/performance.md; OPTIONS=--quick is short
	@$(PYTHON_RUN) -m simulator.bench $(OPTIONS)

scale: ready  ## measure many hosts at rest, see docs/performance.md; OPTIONS="--hosts 1000" is short
	@$(PYTHON_RUN) -m simulator.scale $(OPTIONS)

chaos: ready  ## kill parts under load and account for every event; OPTIONS="--duration-s 60" is short
	@$(PYTHON_RUN) -m simulator.chaos $(OPTIONS)

docs: ready  ## build the site of the documentation into build/docs; a dead link is an error
	@scripts/docs

pictures: ready  ## make the pictures of README and docs anew; needs an Engine and Chromium
	@$(PYTHON_RUN) -m tests.pictures

setup:  ## make .venv with the packages of requirements.lock, and show it
	@scripts/setup --verbose

ready:
	@scripts/setup

lock:  ## write the lock files anew from pyproject.toml
	@scripts/lock

clean:  ## remove everything that setup and the tools made here
	rm -rf .venv .venv-docs build/docs .setup.lock .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache $(HOME)/.cache/cowpoke
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
