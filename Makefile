# Two commands need nothing but Python 3.11+ and make: `make demo` and `make test`. Each makes .venv from pinned constraints.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test lint soak bench clean
.DELETE_ON_ERROR:

demo: .venv/demo
	$(BIN)/taskvec demo

test: lint
	$(BIN)/python -m pytest
	$(BIN)/python tests/smoke_wheel.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy core integrations benchmarks tests/support/checkpoints.py tests/smoke_wheel.py

soak: .venv/installed
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

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
