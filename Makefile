# make demo: the whole path on embedded data.  make test: the suite.  make check: lint, types, import contract.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO ?= demo

.PHONY: demo test check clean

demo: $(READY)
	$(BIN)/python examples/demo.py $(DEMO)

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('fauxto needs Python 3.10 or newer, this is ' + sys.version.split()[0] if sys.version_info < (3, 10) else 0)"
	$(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes and some 6 GB the first time: PyTorch brings its GPU libraries)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv $(DEMO) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
