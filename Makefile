# make book: from a fresh clone to a built book. make test: lint, types, unit, notebook and browser
# tests. Both set everything up by themselves, and do nothing twice.
.PHONY: book test lab bench bench-gpu coverage walk setup pages browser lint units notebooks clean
.DEFAULT_GOAL := book

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Those that take parameters; the others are chapters, which the build runs.
NOTEBOOKS := $(shell grep -l '"parameters"' book/*.ipynb)

setup: .venv/.ready

# requirements.txt is its own constraints file: whatever else is asked for cannot move a pin.
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make: Python 3.11 is needed: name one with PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt -c requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The reader's own run of one experiment comes first, so that the book can show it.
book: setup
	$(BIN)/sgdnoise reproduce constant-epoch --scale digits --fresh
	@$(MAKE) --no-print-directory pages

# Fills what is missing in the committed records of the scale that takes minutes, renders every page
# of the contents from what is there, and builds.
pages: setup
	$(BIN)/sgdnoise reproduce all --scale digits
	$(BIN)/sgdnoise build

test: setup lint units notebooks pages browser

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

units: setup
	$(BIN)/python -m pytest -n 2 --ignore tests/browser tests

notebooks: setup
	$(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout=600 $(NOTEBOOKS)

browser: setup
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || \
	  { echo "make: the browser tests need chromium: install it with the system's packages" >&2; exit 1; }
	$(BIN)/python -m pytest -n 2 tests/browser

lab: setup
	$(BIN)/jupyter lab book/intro.ipynb

bench: setup
	$(BIN)/python -m benchmarks.run

# How often the intervals hold the truth: written anew after a change of the statistics.
coverage: setup
	$(BIN)/python -m benchmarks.coverage

# The exact walk on a random potential, which a claim of H17 rests on.
walk: setup
	$(BIN)/python -m benchmarks.walk

# Where another python has the torch that knows the GPU: make bench-gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
bench-gpu:
	@command -v $(GPU_PYTHON) >/dev/null || $(MAKE) --no-print-directory setup
	PYTHONPATH=src$${PYTHONPATH:+:$$PYTHONPATH} $(GPU_PYTHON) -m benchmarks.run gpu

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache
