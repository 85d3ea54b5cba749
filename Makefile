# Two commands need nothing but Python 3.11+ and make: `make demo` and `make test`. Each makes .venv from pinned constraints.
PYTHON ?= python3
BIN := .venv/bin
# The tests run in so many processes; which of them stay together is in tests/support/parallel.py.
WORKERS ?= 2
PARALLEL := -n $(WORKERS)
export HF_HUB_OFFLINE := 1

.PHONY: demo check test lint types soak bench clean
.DELETE_ON_ERROR:

demo: .venv/demo
	$(BIN)/taskvec demo

check: lint types
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not soak"

test: lint types
	$(BIN)/python -m pytest $(PARALLEL)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: .venv/installed
	$(BIN)/mypy core integrations benchmarks tests

soak: .venv/soak
	HF_HUB_OFFLINE=0 $(BIN)/python -m pytest -m "soak or hub"

bench: .venv/bench
	$(BIN)/python benchmarks/encode.py

.venv/created:
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), f'taskvec needs Python 3.11 or newer, {sys.executable} is {sys.version}'"
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[qdrant]"
	touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv/soak: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,soak]"
	touch $@

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
