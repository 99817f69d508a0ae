# Everything a user or developer types. `make` or `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
MLFLOW_URI ?= sqlite:///$(CURDIR)/mlruns/mlflow.db
BENCHMARKS := $(addprefix benchmark_,rates dns benign load mix windows adaptive triggers)
# In CI (CI=true) the heavy checks run too.
MARKS := $(if $(CI),,-m "not slow")

.DEFAULT_GOAL := help
.PHONY: help setup run doctor test lint types bench benchmark benchmark-quick fidelity fuzz ui docs lock clean-runs

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## create .venv and install the pinned packages

run: setup ## run the main job: Sock Shop on the simulated cluster, flagship detector (ARGS="key=value ..." to change it)
	$(BIN)/python run.py app=sockshop detector=invariants $(ARGS)

doctor: setup ## say where applications can run on this machine, and how to meet what is missing
	$(BIN)/python -m mimir.cluster doctor

test: $(VENV)/.installed-dev ## run the tests (CI=true adds the heavy ones)
	$(BIN)/python -m pytest -n auto --dist loadgroup $(MARKS) $(ARGS)

lint: $(VENV)/.installed-dev ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## check types
	$(BIN)/mypy

bench: $(VENV)/.installed-dev ## measure speed against other tools in one run (ARGS=--help; peers: .venv/bin/pip install -e '.[bench]')
	$(BIN)/python -m tests.benchmarks $(ARGS)

benchmark: setup ## compare all detectors on all applications, ten seeds (hours; ARGS="seed=1,2,3" for fewer, ARGS="benchmark_mix:seed=1,2,3" for fewer of one experiment)
	$(BIN)/python -m mimir.pipeline.benchmark $(BENCHMARKS) --out docs/results/benchmark $(ARGS)

benchmark-quick: setup ## the same in a few minutes on one application: does all of it work?
	$(BIN)/python -m mimir.pipeline.benchmark benchmark_quick $(ARGS)

fidelity: setup ## the same applications simulated and run for real for 45 minutes, compared edge by edge (ARGS="sockshop load.duration_s=1800 exfiltration.incident_duration_s=300" for less; Linux)
	$(BIN)/python -m mimir.pipeline.fidelity $(ARGS)

fuzz: $(VENV)/.installed-dev ## look for inputs that break the capture reader or the connection kernels (ARGS="seconds reader|connections"; needs .venv/bin/pip install -e '.[fuzz]')
	$(BIN)/python -m tests.fuzz $(ARGS)

ui: setup ## open the MLflow UI on the runs of this folder
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true \
	$(BIN)/mlflow ui --workers 1 --backend-store-uri $${MLFLOW_TRACKING_URI:-$(MLFLOW_URI)}

docs: setup ## regenerate docs/reference from the schemas and docstrings
	$(BIN)/python scripts/generate_reference.py

lock: ## pin every package with its hashes (needs uv)
	uv pip compile --universal --generate-hashes --no-header --quiet --extra netns pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --quiet --extra netns --extra dev pyproject.toml -o requirements-dev.lock

clean-runs: ## delete run directories, shared recordings and the tracking database
	rm -rf runs mlruns/mlflow.db mlruns/artifacts

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Mimir needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; name another: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing pinned packages into $(VENV): a minute or two, once"
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
