# The course's commands. Each makes .venv when it is missing and does no work twice.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
COURSE := $(RUN) tools/course.py
READY := $(VENV)/.ready
LAB := $(VENV)/.lab
# Whoever forked the project has its address as `origin`.
URL ?= $(shell git remote get-url origin 2>/dev/null)
# llama.cpp is compiled once, into the cache (minutes). `setup` and the tests ask for it
# here; the first notebooks do without, and notebook 07 makes it when it is missing.
LLAMA := $(VENV)/.llama-cpp
# A file of tests goes to one of at most four processes, each with one thread.
SPREAD := OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n logical --maxprocesses 4 --dist loadfile
N ?= 00
ONLY := $(if $(filter command line,$(origin N)),$(N))

# An environment that has lost a package since it was filled is filled again.
NEEDED := pip torch transformers unsloth trl peft nbclient
THERE := import sys, importlib.util as i; sys.exit(not all(map(i.find_spec, sys.argv[1:])))
$(shell test ! -e $(READY) || $(RUN) -c "$(THERE)" $(NEEDED) || rm -f $(READY))

.DEFAULT_GOAL := help
.PHONY: help setup course notebook publish adopt prose recipes gpu-check card anki test unit nbval chains lint clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.txt constraints.txt tools/install.py
	@$(PYTHON) tools/install.py
	@touch $@

$(LLAMA): $(READY) tools/build_llama_cpp.py course_utils/machine/toolchain.py
	@$(RUN) tools/build_llama_cpp.py
	@touch $@

setup: $(LLAMA) ## make .venv, fill it with the tested set, build llama.cpp

$(LAB): $(READY)
	@$(RUN) tools/install.py --lab
	@touch $@

.PHONY: lab address
# The kernel python3 of .venv comes before one of that name in the home folder.
lab: $(LAB) ## open JupyterLab at the quickstart, with the kernel of .venv
	@JUPYTER_PREFER_ENV_PATH=1 $(RUN) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
		$(LAB_OPTIONS) notebooks/00_quickstart.ipynb

course: $(READY) ## run every notebook, into runs/; COURSE_JOBS=1: one by one
	@$(COURSE) run

notebook: $(READY) ## run one notebook: make notebook N=03
	@$(COURSE) run $(N)

publish: $(READY) ## write, execute and refresh the committed notebooks
	@$(COURSE) publish $(ONLY)

adopt: $(READY) ## publish what the last make course made, without a new run
	@$(COURSE) adopt $(ONLY)

prose: $(READY) ## after edits of text or cards: renew them, keep outputs
	@$(COURSE) prose $(ONLY)

address: $(READY) ## badges and first cells of a copy: make address URL=https://github.com/you/it
	@$(COURSE) address $(URL) $(REVISION)

recipes: $(READY) ## measure the other recipes' stress tests for the README
	@$(COURSE) recipes

gpu-check: $(READY) ## on a CUDA card: lessons, memory and speed, held to a T4
	@$(RUN) tools/gpu_check.py

card: $(READY) ## one interview card with its seconds and faults: make card ID=nf4-or-int4
	@$(COURSE) card $(ID)

anki: $(READY) ## the interview cards as a deck for Anki and pages to print, in runs/
	@$(COURSE) anki

lint: $(READY) ## style, types, and which module may import which
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check course_utils tests tools
	@$(VENV)/bin/pyrefly check
	@$(VENV)/bin/lint-imports

unit: $(LLAMA) ## unit tests and gates, without executing notebooks
	@$(SPREAD) tests --ignore tests/with_unsloth
	@$(SPREAD) tests/with_unsloth

nbval: $(LLAMA) ## every notebook, cell by cell, on the nano model
	@$(COURSE) nbval

chains: $(LLAMA) ## 03 to 07 with each other recipe, 14 with own files, on nano
	@$(COURSE) chains

test: lint unit nbval chains ## every check that CI makes

clean: ## remove results and the environment; the model cache stays
	rm -rf runs $(VENV) .pytest_cache .ruff_cache unsloth_compiled_cache
