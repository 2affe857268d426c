# relrec: thin verbs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# An index with CPU builds of torch, for machines without GPU:
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
# (A CPU wheel in a directory that pip's find-links names is used without this.)
TORCH_INDEX ?=
JOBS ?= 2
# Images: which to build, from which base (empty: the digest in the Dockerfile), to which registry.
ROLES ?= cpu serve
BASE ?=
CA ?=
REGISTRY ?=
TOOLS := build/tools

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-docker lint bench lock compile images push scan clean

help: ## List every verb
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make .venv with everything pinned

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"relrec needs Python 3.11 to 3.13, found {v[0]}.{v[1]}; run make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Run the whole pipeline on the embedded shop and say where the report is
	$(BIN)/relrec dataset demo runs/demo/shop
	$(BIN)/relrec run retrain --dataset runs/demo/shop --task customer-purchase --root runs/demo \
		--set train.epochs=4 --set evaluate.num_bootstrap=500

test: setup ## Run the tests (no GPU, Docker or network needed)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

test-docker: setup ## Run the tests that need a Docker engine and make images
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m docker tests/docker

lint: setup ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: demo ## Run the benchmarks; each prints both sides and their ratio
	$(BIN)/python -m benchmarks.sampler
	$(BIN)/python -m benchmarks.graph_build
	$(BIN)/python -m benchmarks.item_pairs
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.ranking
	$(BIN)/python -m benchmarks.allocator
	$(BIN)/python -m benchmarks.validation
	$(BIN)/python -m benchmarks.negatives runs/bench/demo-8 --seconds 20
	$(BIN)/python -m benchmarks.scale --largest 1000000 --steps 16 --batch-size 64 --out runs/bench/scale
	$(BIN)/python -m benchmarks.faults --no-write
	$(BIN)/python -m benchmarks.serving --summary runs/demo/summary.json

compile: setup ## Compile the pipeline to retrain.yaml
	$(BIN)/relrec compile retrain -o retrain.yaml $(if $(wildcard build/pins.json),--images build/pins.json,--allow-unpinned)

lock: ## Make requirements.lock anew from the ranges in pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '.[dev]'
	build/lock/bin/python -m pip freeze --all --exclude relrec --exclude pip | sed 's/+cpu//' > requirements.lock
	rm -rf build/lock

$(TOOLS)/.ready: images/requirements-build.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --no-deps -r images/requirements-build.txt
	@touch $@

images: $(TOOLS)/.ready ## Build the images of ROLES, from BASE if given; print sizes and times
	$(TOOLS)/bin/python -m images.build $(ROLES) $(if $(BASE),--base $(BASE)) $(if $(CA),--ca $(CA))

push: $(TOOLS)/.ready ## Push them to REGISTRY and write build/pins.json for relrec compile
	@test -n "$(REGISTRY)" || { echo "make push needs REGISTRY=registry.example.org/team" >&2; exit 2; }
	$(TOOLS)/bin/python -m images.push $(REGISTRY)

scan: $(TOOLS)/.ready ## Look for known vulnerabilities; fails where that cannot be done
	$(TOOLS)/bin/python -m images.scan

clean: ## Remove what the verbs made, runs included
	rm -rf $(VENV) build runs *.egg-info
