# Set-up and the main jobs. Everything is installed into .venv in this folder and nowhere else.
#
#   make demo        segment the images that come with the package
#   make test        lint, types, and the tests that find most faults
#   make test-slow   the rest: executed lessons, JupyterLab, the app in a browser, long training runs
#   make lessons-rerun  every lesson in full (an hour), compared with the numbers in its text; before a release
#   make dashboard   the app, in a browser
#   make lab         the course, in JupyterLab
#   make live        the live page, in the folder build/live; it needs npm
#   make docs        the site, in the folder build/site; it needs npm
#
# Variables:
#   PYTHON=python3.12      which Python to use; 3.11 to 3.14
#   TORCH=torch==2.13.0    what to hand to `pip install` for PyTorch, options included; empty lets setup choose
#   WORKERS=4              how many tests run at once

SHELL := /bin/sh
PYTHON ?=
TORCH ?=
WORKERS ?= 2
BIN := .venv/bin
INSTALLED := .venv/.installed
# Every test process gets one thread: more would only take turns on the same cores.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-slow lessons-rerun dashboard lab live docs lint types install clean

demo: $(INSTALLED)
	$(BIN)/skinlesion demo --out demo
	@echo "  (in a terminal of your own, once: . .venv/bin/activate)"

test: lint types
	$(PYTEST) -m "not slow and not browser"

test-slow: $(INSTALLED)
	$(PYTEST) -m "slow or browser"

lessons-rerun: $(INSTALLED)
	$(BIN)/python -m skinlesion.lessons.build --rerun

dashboard: $(INSTALLED)
	$(BIN)/python -m dashboard

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks/00_start.ipynb

live: $(INSTALLED)
	$(BIN)/python docs/live/build.py build/live

docs: $(INSTALLED)
	$(BIN)/python docs/site/build.py build/site

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

install: $(INSTALLED)

clean:
	rm -rf .venv

$(INSTALLED): pyproject.toml setup.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" sh setup.sh
	touch $@
