# `make` alone lists the targets. Every target but `help`, `lock` and `clean` sets up .venv first.
PYTHON ?= python3
VENV   ?= .venv

BIN   := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
STAMP := $(VENV)/.stamp
DOCS_STAMP := $(VENV)/.stamp-docs
PIP   := "$(BIN)/python" -m pip -qq --disable-pip-version-check --no-input
# Simulators run make themselves: they must not inherit this one's flags.
RUN   := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES PATH="$(BIN):$$PATH"
COMPILE = build/lock/bin/pip-compile --quiet --no-config --upgrade --generate-hashes \
  --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
  --no-emit-options
REGRESS = $(RUN) "$(BIN)/python" -m sim regress $(if $(WAVES),--waves) $(if $(SEED),--seed $(SEED))

.DEFAULT_GOAL := help
.PHONY: help setup demo test sim board-sim formal bench docs lint lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@echo "Usage: make TARGET [PYTHON=python3.12] [VENV=.venv] [SEED=n] [WAVES=1]"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile

setup: $(STAMP) ## create the virtual environment, every package pinned by hash
	@:

$(STAMP): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: $(PYTHON) was not found: install Python 3.11 or later, or set PYTHON=..."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python must be 3.11 or later, not $$("$(PYTHON)" -V 2>&1): set PYTHON=..."; exit 1; }
	@for tool in g++ make; do command -v $$tool >/dev/null || { \
	  echo "make: $$tool was not found, and Verilator needs it: install g++ and make"; exit 1; }; done
	@echo "Setting up $(VENV) with $$("$(PYTHON)" -V) (about 1.1 GB on disk)"
	@start=$$(date +%s); set -e; \
	"$(PYTHON)" -m venv "$(VENV)" || { \
	  echo "make: $(PYTHON) cannot create virtual environments: install its venv package"; exit 1; }; \
	$(PIP) install --progress-bar off --require-hashes -r requirements.lock; \
	$(PIP) install --no-deps --no-build-isolation -e .; \
	touch "$(STAMP)"; \
	echo "Set up in $$(($$(date +%s) - start)) s"

$(DOCS_STAMP): $(STAMP) requirements-docs.lock
	@$(PIP) install --progress-bar off --require-hashes -r requirements-docs.lock
	@touch "$(DOCS_STAMP)"

demo: setup ## a checkpoint, quantized, compiled and run, with the report
	@$(RUN) "$(BIN)/python" -m compiler demo $(ARGS)

test: setup ## every test, then the cocotb regression
	@$(RUN) "$(BIN)/python" -m pytest -q -n 2 tests
	@$(REGRESS)

sim: setup ## the cocotb regression alone (WAVES=1 keeps waves, SEED=n repeats a run)
	@$(REGRESS)

board-sim: setup ## a whole board in simulation: a layer through its serial port (ARGS="--board icebreaker")
	@$(RUN) "$(BIN)/python" -m fpga board-sim $(ARGS)

formal: setup ## prove properties of the circuits for all inputs
	@$(RUN) "$(BIN)/python" -m sim formal

bench: setup ## measure: cycles, speeds, density; tables, and JSON in build/bench
	@mkdir -p build/bench
	@$(RUN) "$(BIN)/python" -m sim bench --out build/bench/sim.json
	@$(RUN) "$(BIN)/python" -m compiler bench --out build/bench/map.json
	@$(RUN) "$(BIN)/python" -m fpga bench-pe --out build/bench/pe.json
	@$(RUN) "$(BIN)/python" -m fpga dsp-peak --out build/bench/peak.json

docs: $(DOCS_STAMP) ## the documentation site, in build/docs; needs no network once set up
	@$(RUN) "$(BIN)/python" -m sphinx -q -W --keep-going -n -d build/doctrees docs build/docs
	@echo "The site is in build/docs/index.html"

lint: setup ## style, types, import directions
	@$(RUN) "$(BIN)/ruff" check .
	@mkdir -p build/types && ln -sfn ../.. build/types/bitwright
	@$(RUN) "$(BIN)/mypy"
	@$(RUN) "$(BIN)/lint-imports" --no-logo

lock: ## pin the newest packages that pyproject.toml allows
	@"$(PYTHON)" -m venv build/lock
	@build/lock/bin/python -m pip -qq --disable-pip-version-check install pip-tools
	@$(COMPILE) --extra dev -o requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["optional-dependencies"]["docs"], sep="\n")' > build/lock/docs.in
	@$(COMPILE) --constraint requirements.lock -o requirements-docs.lock build/lock/docs.in
	@for lock in requirements.lock requirements-docs.lock; do \
	  sed -i '1i # Every package with its hashes. Made by "make lock" from pyproject.toml.' $$lock; done

clean: ## remove what was built, and the caches
	@rm -rf build dist bitwright.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
