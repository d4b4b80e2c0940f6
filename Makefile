# Everything a developer or a visitor does with this checkout; each target sets up what it needs.

PYTHON ?= python3
TORCH ?= 2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/runtime-$(TORCH)
TOOLS := $(VENV)/tools-$(TORCH)
ADAPTERS := $(VENV)/adapters-$(TORCH)
BENCH := $(VENV)-bench

# Processes that run the tests: each begins with a part of its own, in order, so that a file's
# fixtures are made once, and who is done takes of what the others have left.
JOBS ?= 2
TESTS := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: demo test types check exams adapters faults faultbench-data faultbench format clean
.DEFAULT_GOAL := demo

demo: $(RUNTIME)
	@$(BIN)/thalweg demo

test: $(TOOLS)
	$(TESTS) -m "not slow"

types: $(TOOLS)
	$(BIN)/pyright

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs 2 types test

exams: $(TOOLS)
	$(TESTS) -m slow

# The packages of the callbacks, so that `make test` does not skip their tests.
adapters: $(ADAPTERS)

faults: $(BENCH)/ready
	$(BENCH)/bin/python -m benchmarks.faults $(FAULTS)

faultbench-data: $(BENCH)/ready
	$(BENCH)/bin/python -m benchmarks.health_data $(FAULTBENCH)

faultbench: $(BENCH)/ready
	$(BENCH)/bin/python -m benchmarks.health $(FAULTBENCH)

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(RUNTIME): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thalweg needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch $(TORCH) and the rest into $(VENV); this takes a minute"
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt torch==$(TORCH) -e .
	@touch $@

$(TOOLS): $(RUNTIME)
	$(BIN)/pip install --quiet -c constraints.txt torch==$(TORCH) -e '.[dev]'
	$(BIN)/pyright --version
	@touch $@

$(ADAPTERS): $(TOOLS)
	$(BIN)/pip install --quiet -c constraints.txt torch==$(TORCH) -e '.[hf,lightning]'
	@touch $@

$(BENCH)/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	@echo "installing torch $(TORCH) and the peers into $(BENCH); this takes some minutes"
	$(BENCH)/bin/pip install --quiet torch==$(TORCH)
	$(BENCH)/bin/pip install --quiet -r benchmarks/requirements.txt
	$(BENCH)/bin/pip install --quiet --no-deps -e .
	@touch $@
