# The two commands: `make run` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
NAME ?= queue
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup run test test-slow test-all check check-pyright check-ruff check-types check-imports check-migrations check-licenses check-prose screenshots bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml packages/anthropic-standin/pyproject.toml uv.lock .ci/uv.txt
	@echo "Setting up $(VENV): Python packages from the lock file, compiled once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Lanes needs Python 3.11 or newer with venv; set PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r .ci/uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --compile-bytecode --python $(BIN)/python
	@touch $@

run: setup
	@$(BIN)/lanes run $(ARGS)

test: setup
	@$(BIN)/pytest -q -n 3 --dist loadscope -m "not slow" $(ARGS)

# The slow tests that need no stand; .ci/run adds them.
test-slow: setup
	@$(BIN)/pytest -q -n 3 --dist loadscope -m slow tests/unit tests/store $(ARGS)

test-all: test
	@$(BIN)/pytest -q -n 3 --dist loadscope -m "(slow or hypothesis) and not alone" --hypothesis-profile thorough $(ARGS)
	@$(BIN)/pytest -q -m alone $(ARGS)

check: setup
	@$(MAKE) --no-print-directory --jobs 2 check-pyright check-ruff check-types check-imports check-migrations check-licenses check-prose

check-pyright:
	@$(BIN)/pyright

check-ruff:
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check .

check-types:
	@$(BIN)/python -m tests.check_types

check-imports:
	@$(BIN)/lint-imports

check-migrations:
	@$(BIN)/python -m tests.check_migrations

check-licenses:
	@$(BIN)/python -m tests.check_licenses

# Agreed exceptions: .proselintrc.json, and the words in pyproject.toml (codespell). docs/reference/ is made from the code.
PAGES := $(filter-out CHANGELOG.md BENCHMARKS.md,$(wildcard *.md packages/*/README.md docs/*.md docs/concepts/*.md docs/decisions/*.md docs/how-to/*.md))

check-prose:
	@$(BIN)/codespell
	@$(BIN)/proselint check $(PAGES)

screenshots: setup
	@$(BIN)/python -m tests.screenshots

bench: setup
	@$(BIN)/uv sync --quiet --frozen --group bench --python $(BIN)/python
	@$(BIN)/python -m tests.benchmarks.bench_$(NAME) $(ARGS)

.PHONY: fuzz
fuzz: setup
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: docs
docs: setup
	@$(BIN)/uv sync --quiet --frozen --group docs --python $(BIN)/python
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@$(BIN)/python -m tests.docs.site

clean:
	@if [ -x $(BIN)/lanes ]; then $(BIN)/lanes down; fi
	@rm -rf .lanes site .pytest_cache .ruff_cache .hypothesis
