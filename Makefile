# Two commands for newcomers: `make demo` and `make test`. Both need Python 3.11 or newer and the network for
# packages, nothing else, and keep to a virtualenv of their own.
# The first that is new enough and can make a virtualenv: a name on the PATH alone proves nothing.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
LOCK := requirements-dev.lock

.PHONY: help demo demo-sqs demo-django test lint types unit test-matrix test-full bench docs lock clean

help:
	@echo "make demo         photographs become thumbnails; a worker is killed and replaced; one call is refused"
	@echo "make demo-sqs     the same on SQS: fnqueue emulator, which is killed, too"
	@echo "make demo-django  tables are imported; a worker is killed and replaced; mail is sent; three calls are refused"
	@echo "make test         set up and run everything: ruff, mypy, tests"
	@echo "make test-matrix  other Pythons, each with its Django"
	@echo "make test-full    the long runs: kills, rotations, wrong environments, clock changes, at full size"
	@echo "make docs         write docs/settings.md and docs/cli.md anew, after a change of settings or commands"
	@echo "make bench        measure against the floor and the queues that are installed"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "fnqueue needs Python 3.11 or newer with venv, and found none." \
	  "Install one, or name it: make demo PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(LOCK) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(LOCK) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[dev-uwsgi]' >/dev/null 2>&1 || \
	  echo "uWSGI cannot be compiled here (it needs gcc and Python's headers): its tests are skipped"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/python -m example_apps.flask_photos.demo

demo-sqs: $(VENV)/.demo
	@$(BIN)/python -m example_apps.flask_photos.demo --emulator

demo-django: $(VENV)/.demo
	@$(BIN)/python -m example_apps.django_newsroom.demo

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# What depends on Python or Django, on the other Pythons of this machine.
test-matrix: $(VENV)/.dev
	$(BIN)/python -m tests.matrix

test-full: $(VENV)/.dev
	FNQUEUE_TEST_FULL=1 $(BIN)/python -m pytest -s tests/system tests/schedule tests/scheduling tests/fuzz \
	  tests/integrations/*/*random*

# docs/settings.md and docs/cli.md, from the code.
docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate

bench: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks

# Written from a fresh virtualenv, so that it holds what is needed and no more.
lock: $(VENV)/.dev
	$(BIN)/python -m pip freeze --exclude-editable --exclude fnqueue > $(LOCK)

clean:
	rm -rf $(VENV) .venv-3.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
