# From a fresh clone with Python 3.11 or newer and make, `make book` and `make test` do all of their own set-up.
# People without make find the plain pip commands in README.md.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
HTML := _build/html/index.html

# The first Python that is new enough, those that were tested first. `make PYTHON=/path/to/python3.12 …` overrules it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# What runs here must not read or write a reader's own data and runs, nor any in the home folder.
SCRATCH = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT INT TERM && \
	env -u AECORE_RETRAIN -u AECORE_JOURNAL AECORE_PROFILE=quick AECORE_PROGRESS=0 OMP_NUM_THREADS=1 \
	AECORE_DATA="$$scratch/data" AECORE_RUNS="$$scratch/runs"
PYTEST = $(BIN)/python -m pytest -q -p no:cacheprovider
# Two workers with a thread each, a file at a time: what two cores can do. `make test WORKERS=8` on a larger machine.
WORKERS ?= 2
PARALLEL = -n $(WORKERS) --dist loadfile
NOTEBOOKS = $(wildcard chapters/*.ipynb)
# The limit of a cell is a guard against one that hangs. After a timeout nbval expects the later cells of the notebook to
# fail; where that were strict, each that does not would be reported, and hide the one that timed out.
NBVAL = --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -o xfail_strict=false

.DEFAULT_GOAL := help
.PHONY: help setup book pdf test lint test-package test-chapters build test-pages chapters editions wheel publish sync lab address pins colab campaign bench clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		while IFS='|' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

setup: $(READY)  ## make .venv and install aecore with the tested versions

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found. Try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[book,test,course]'
	@touch $@

book: build  ## build the HTML from the published notebooks and say where it is
	@echo
	@echo "The book is built. Open $(CURDIR)/$(HTML) in a browser."

# Sphinx does not write pages again that did not change, though their menus list the new chapters: begin anew then.
build: $(READY)
	@test _build/.menus -nt _toc.yml -a _build/.menus -nt _config.yml || rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W --keep-going -q
	@touch _build/.menus

pdf: build  ## print the built book into _build/book.pdf (needs Chromium or Chrome)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[pdf]'
	$(BIN)/python book/tools/pdf.py _build/html _build/book.pdf

test: $(READY)  ## lint, test the package, run the chapters (quick profile), build the book, check its pages
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-package
	@$(MAKE) --no-print-directory test-chapters
	@rm -rf _build
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory test-pages

lint: $(READY)  ## ruff, on the package, the tools, the tests and the chapters' code
	$(BIN)/ruff check --no-cache .

test-package: $(READY)  ## tests of the package and of the book's source
	$(SCRATCH) $(PYTEST) $(PARALLEL) tests --ignore=tests/pages

test-chapters: $(READY)  ## run every chapter with nbval under the quick profile
ifeq ($(NOTEBOOKS),)
	@echo "There is no chapter to run yet."
else
	$(SCRATCH) JUPYTER_PREFER_ENV_PATH=1 $(PYTEST) $(PARALLEL) $(NBVAL) $(NOTEBOOKS)
endif

test-pages: $(READY)  ## check the built HTML (after make book)
	$(PYTEST) -n $(WORKERS) tests/pages

chapters: $(READY)  ## execute all chapters from their .md, quick profile, into _build/chapters
	$(SCRATCH) $(BIN)/python book/tools/execute.py _build/chapters

# Anew each time, so that no copy of a chapter stays that was renamed.
editions: $(READY)  ## make the notebooks that readers, students and instructors open, into _build/editions
	@rm -rf _build/editions
	$(BIN)/aecore editions _build/editions

wheel: $(READY)  ## build the wheel of aecore into dist
	@rm -rf dist
	$(BIN)/python -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir dist .

publish: $(READY)  ## execute one chapter under the full profile and store its outputs: make publish CH=02
	@test -n "$(CH)" || { echo "Say which chapter: make publish CH=02"; exit 1; }
	$(BIN)/aecore publish $(CH)

sync: $(READY)  ## carry edits of chapters/*.md into the paired .ipynb (outputs stay)
	$(BIN)/jupytext --sync chapters/*.md

lab: $(READY)  ## open the chapters in JupyterLab
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[lab]'
	$(BIN)/jupyter lab chapters

address: $(READY)  ## rewrite what depends on the repository's address in pyproject.toml
	$(BIN)/python book/tools/address.py

pins: $(READY)  ## write constraints.txt and environment.yml from what is installed in .venv
	$(BIN)/python book/tools/pins.py

campaign: $(READY)  ## kill hundreds of trainings at random and in each of their writes, and see how they end (slow)
	$(SCRATCH) $(BIN)/python tests/campaigns/kills.py

colab: $(READY)  ## run each notebook alone in a clean environment with Colab's versions (slow; make colab CHAPTERS="05 07")
	$(BIN)/python tests/colab/trial.py $(CHAPTERS)

# First what needs data, so that a lack of it shows now and not after half an hour.
bench: $(READY)  ## time fit beside other training loops, into benchmarks/results (slow; to try it: make bench BENCH=--quick)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.whole $(filter --quick,$(BENCH))
	$(BIN)/python -m benchmarks $(BENCH)

clean:  ## remove what was built (not .venv)
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache
