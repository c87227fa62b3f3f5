# Everything lands inside this checkout: the environment in .venv, plot caches in .cache, compiled kernels beside their source, reports in results.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo "$$p" && break; done)
SCENARIO ?= compare
SURFACES ?= trajectories past_runs scenario deployment system model engine words calibration evidence parquet
FUZZ_S ?= 180
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export IPYTHONDIR := $(CURDIR)/.cache/ipython
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.cache/jupyter

.PHONY: help compare test bench mutants fuzz lint format report readme notebooks clean

help:
	@echo "make compare    the main job: agents held per megawatt, table on stdout and report in results/"
	@echo "make test       all tests (live ones apart)"
	@echo "make lint       ruff, mypy, import contracts          make format     rewrite in the house style"
	@echo "make mutants    mistakes put into the engines, to docs/mutations.md (not part of make test)"
	@echo "make fuzz       readers fuzzed by coverage, 3 minutes each (SURFACES=, FUZZ_S=; needs atheris; not part of make test)"
	@echo "make bench      speed, to docs/benchmarks.md      make notebooks  execute them in place"
	@echo "make report     the main job, and where its report is"
	@echo "make readme     renew the table in README.md          make clean      remove .venv, caches and what commands wrote"

compare: .venv/.installed
	@.venv/bin/agentwatt compare $(SCENARIO) --out results

test: .venv/.installed-dev
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: .venv/.installed
	.venv/bin/python benchmarks/bench_all.py $(if $(PEER),--peer $(PEER)) >docs/benchmarks.md.new
	mv docs/benchmarks.md.new docs/benchmarks.md

fuzz: .cache/fuzzing/.installed
	for surface in $(SURFACES); do .cache/fuzzing/bin/python -m tests.fuzz.coverage_guided $$surface -max_total_time=$(FUZZ_S) || exit 1; done

.cache/fuzzing/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .cache/fuzzing
	.cache/fuzzing/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt hatchling editables
	.cache/fuzzing/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt --no-build-isolation --editable . pytest hypothesis
	.cache/fuzzing/bin/python -m pip --disable-pip-version-check install --quiet atheris
	@touch $@

mutants: .venv/.installed-dev
	.venv/bin/python -m tests.mutate

lint: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

format: .venv/.installed-dev
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

report: compare
	@echo "$(CURDIR)/results/report.html"

readme: .venv/.installed
	.venv/bin/python docs/result_table.py README.md $(SCENARIO)

notebooks: .venv/.installed-dev
	@mkdir -p .cache/ipython
	.venv/bin/python notebooks/execute.py notebooks/*.ipynb

clean:
	rm -rf .venv .cache results dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv (Debian: python3-venv); name one: make PYTHON=FILE" >&2; exit 1; }
	@echo "setting up .venv with $(PYTHON) (once, about a minute)" >&2
	@.venv/bin/python -c "" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(PIP) hatchling editables >&2
	@$(PIP) --no-build-isolation --editable . >&2
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "adding what the tests need" >&2
	@$(PIP) --no-build-isolation --editable '.[dev]' >&2
	@touch $@
