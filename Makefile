# Every target sets up its own environment in .venv on a machine that has nothing but Python 3.11+.
#
# An environment of yours that already has a torch is used as it is: activate it, or name it with
# `make demo VENV=path/to/env`. Its torch is never replaced, whatever its version.

PYTHON ?= python3
TORCH := torch==2.13.0

has_torch = $(shell $(1)/bin/python -c "import importlib.util as u; print(bool(u.find_spec('torch')))" 2>/dev/null)
ifndef VENV
  ifneq ($(VIRTUAL_ENV),)
    ifeq ($(call has_torch,$(VIRTUAL_ENV)),True)
      VENV := $(VIRTUAL_ENV)
    endif
  endif
endif
VENV ?= .venv

BIN := $(VENV)/bin
CORE := $(VENV)/.dfprompt-core
DEV := $(VENV)/.dfprompt-dev
DOCS := $(VENV)/.dfprompt-docs
# The pins that are tried, with the torch that is there in place of the pinned one. One call of pip, and nothing
# compiled ahead: half of the time of the first `make demo`, as most of what is installed is never imported.
PINS := $(VENV)/dfprompt-constraints.txt
QUIET := --quiet --disable-pip-version-check

export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export NO_MKDOCS_2_WARNING ?= 1
# What the first import compiles is kept, whatever the shell says: without, every process of the tests (there are
# hundreds) compiles torch and diffusers anew, 13 processor seconds each.
export PYTHONDONTWRITEBYTECODE =

# Tests run in as many processes as there are cores; `make test WORKERS=0` runs them in one.
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10
# `make test ROOM=rewards`: the tests of one room (a folder of src/dfprompt or tests, or one of its modules).
ROOM ?=
# What both ends of the version ranges may take together.
MINUTES ?= 40
PARTS = $(if $(ROOM),$(or $(wildcard tests/$(ROOM) tests/test_$(ROOM).py src/dfprompt/$(ROOM) src/dfprompt/$(ROOM).py $(ROOM) tests/worlds/$(ROOM)),$(error there is no room $(ROOM); rooms are the folders of src/dfprompt and tests)))

.PHONY: help demo test test-fast test-all test-versions lint format bench docs cli-page settings-page api-page pictures clean

help:
	@echo "make demo       what it does, on your screen"
	@echo "make test       the tests; ROOM=rewards for one room's"
	@echo "make test-all   further cases and seeds, builds of worlds, whole experiments: what CI runs"
	@echo "make test-versions  the newest and the lowest versions of the libraries, in environments of their own; MINUTES=40"
	@echo "make test-fast  without the tests marked slow"
	@echo "make lint       style, types, floors, guards"
	@echo "make bench      speed, with ratios against other tools"
	@echo "make docs       the documentation, into site/"

$(CORE): pyproject.toml constraints.txt
	@test -x $(BIN)/python || echo "Setting up $(VENV): about 2 GB (torch, diffusers, transformers), 2 minutes on a fast line."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "dfprompt needs Python 3.11 or later: make PYTHON=python3.11 ..."; exit 2; }
	@{ grep -v "^torch==" constraints.txt; $(BIN)/python -c "import importlib.metadata as m; print('torch==' + m.version('torch'))" \
	  2>/dev/null || echo "$(TORCH)"; } > $(PINS)
	@$(BIN)/python -m pip install $(QUIET) --no-compile -c $(PINS) $$(grep "^torch==" $(PINS)) -e .
	@touch $@

$(DEV): $(CORE)
	@echo "Adding what the tests need."
	@$(BIN)/python -m pip install $(QUIET) -c $(PINS) -e ".[dev]"
	@touch $@

$(DOCS): $(CORE)
	@echo "Adding what the documentation needs."
	@$(BIN)/python -m pip install $(QUIET) -c $(PINS) -e ".[docs]"
	@touch $@

demo: $(CORE)
	@$(BIN)/python .ci/demo.py

test: $(DEV)
	$(PYTEST) -m "not nightly" $(PARTS)

test-fast: $(DEV)
	$(PYTEST) -m "not slow and not nightly" $(PARTS)

test-all: $(DEV)
	$(PYTEST) $(PARTS)

test-versions:
	PYTHON=$(PYTHON) DFPROMPT_VERSIONS_MINUTES=$(MINUTES) .ci/try_versions

lint: $(DEV)
	@status=0; for check in "ruff check ." "ruff format --check ." mypy lint-imports "python .ci/guards.py"; do \
	  echo "$$check"; $(BIN)/$$check || status=1; done; exit $$status

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	$(BIN)/python benchmarks/run.py

docs: $(DOCS)
	$(BIN)/python .ci/write_results_page.py
	$(BIN)/mkdocs build --strict

cli-page: $(CORE)
	$(BIN)/python .ci/write_cli_page.py

settings-page: $(CORE)
	$(BIN)/python .ci/write_settings_page.py

api-page: $(CORE)
	$(BIN)/python .ci/write_api_page.py

# What the pages show of the shipped policy and the mini world: the judged pairs, their figures, the pictures.
pictures: $(CORE)
	BIN=$(BIN) .ci/make_pictures

clean:
	rm -rf build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
