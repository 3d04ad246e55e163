# Every target sets up what it needs: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
# Two threads: more only spin against each other on a small machine.
export OMP_NUM_THREADS ?= 2
# Threads that wait sleep: spinning would take the core from what is summed meanwhile.
export OMP_WAIT_POLICY ?= passive
export TOKENIZERS_PARALLELISM ?= false
ROOM   ?=

.PHONY: help demo demo-features test fuzz check bench bench-peers bench-compared claims docs format clean

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -U 'pip>=25.1'
	$(PIP) install -c constraints.txt -e '.[web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.core      ## the atlas of every neuron of SmolLM2 over real text
	$(BIN)/nissl atlas smollm2 --text reader --tokens 102000 --out out/smollm2

demo-features: $(VENV)/.core  ## a dictionary of SmolLM2's middle block on a million tokens, and its atlas
	$(BIN)/nissl record smollm2 --text library --tokens 1000000 --dtype auto -s blocks.15.resid_post --store out/features/acts.zarr
	$(BIN)/nissl train-dictionary out/features/acts.zarr --features 4608 --k 32 --samples 1000000 --batch 1024 --out out/features
	$(BIN)/nissl atlas smollm2 --text reader --tokens 102000 --dictionary out/features/dictionary.safetensors --out out/features/atlas

test: $(VENV)/.dev       ## every test and every docstring example
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(VENV)/.dev       ## read changed files of every format (N=2000 of each)
	NISSL_FUZZ=$(or $(N),2000) $(BIN)/python -m pytest -n 2 --timeout 36000 tests/fuzz

check: $(VENV)/.dev      ## style, types, floors, docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m numpydoc.hooks.validate_docstrings $$(find src -name '*.py')

format: $(VENV)/.dev     ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev      ## every ratio beside its target and its limit
	$(BIN)/python -m bench

bench-peers: $(VENV)/.dev ## the same recording by other tools, in an environment of its own
	$(BIN)/python -m bench.peers

bench-compared: $(VENV)/.dev ## the same tasks in seven libraries and here, each in an environment of its own
	$(BIN)/python -m bench.compared

claims: $(VENV)/.dev     ## run the replications whose claim is missing (ROOM=name for one room)
	$(BIN)/nissl claims --run $(if $(ROOM),--room $(ROOM))

docs: $(VENV)/.dev       ## the documentation as a site in build/docs
	$(PIP) install -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:           ## remove the environment and everything built
	rm -rf $(VENV) out build .mypy_cache .ruff_cache .pytest_cache
