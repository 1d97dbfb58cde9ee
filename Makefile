# The course's commands. Each makes .venv when it is missing and does no work twice.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# llama.cpp is compiled once, into the cache (minutes). `setup` and the tests ask for it
# here; the first notebooks do without, and notebook 07 makes it when it is missing.
LLAMA := $(VENV)/.llama-cpp
N ?= 01

.DEFAULT_GOAL := help
.PHONY: help setup course notebook publish prose recipes test unit nbval chains lint clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.txt constraints.txt tools/install.py
	@$(PYTHON) tools/install.py
	@touch $@

$(LLAMA): $(READY) tools/build_llama_cpp.py course_utils/llama_cpp.py
	@$(RUN) tools/build_llama_cpp.py
	@touch $@

setup: $(LLAMA) ## make .venv, fill it with the tested set, build llama.cpp

course: $(READY) ## run every notebook in order, into runs/
	@$(RUN) tools/run_notebooks.py

notebook: $(READY) ## run one notebook: make notebook N=03
	@$(RUN) tools/run_notebooks.py $(N)

publish: $(READY) ## write, execute and refresh the committed notebooks
	@$(RUN) tools/publish.py $(if $(filter command line,$(origin N)),$(N))

prose: $(READY) ## after edits of text or cards: renew them, keep outputs
	@$(RUN) tools/publish.py --prose

recipes: $(READY) ## measure the other recipes' stress tests for the README
	@$(RUN) tools/publish_recipes.py

lint: $(READY) ## style of code and notebooks
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check course_utils tests tools

unit: $(LLAMA) ## unit tests and gates, without executing notebooks
	@$(RUN) -m pytest -q tests --ignore tests/with_unsloth
	@$(RUN) -m pytest -q tests/with_unsloth

nbval: $(LLAMA) ## every notebook, cell by cell, on the nano model
	@$(RUN) tools/run_nbval.py

chains: $(LLAMA) ## notebooks 03 to 07 with each other recipe, on the nano model
	@$(RUN) tools/run_chains.py

test: lint unit nbval chains ## every check that CI makes

clean: ## remove results and the environment; the model cache stays
	rm -rf runs $(VENV) .pytest_cache .ruff_cache unsloth_compiled_cache
