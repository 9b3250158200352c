# Every target sets up what it needs in its own .venv; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
RIVALS := .venv-rivals
BIN := $(VENV)/bin
USABLE := $(VENV)/.usable
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format types docs bench models clean

help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(USABLE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "ocompress needs Python >= 3.11; say which with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,images]'
	@touch $@

$(READY): $(USABLE) # what developers need beside it, PyTorch for one
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,images]'
	@touch $@

demo: $(USABLE) ## Find the best small LeNet-5 and check it on real Fashion-MNIST images
	@mkdir -p build
	$(BIN)/ocompress optimize models/lenet5.onnx build/lenet5-small.onnx --auto --time 60s \
	  --data models/data/fashion_calib.npz --report build/lenet5-small.html
	$(BIN)/ocompress validate models/lenet5.onnx build/lenet5-small.onnx \
	  --data models/data/fashion_test.npz --max-drop 0.013

test: $(READY) ## Run the fast tests
	$(BIN)/python -m pytest -n auto

test-slow: $(READY) ## Run the slow tests too: real models, every ONNX node model
	$(BIN)/python -m pytest -n auto -m 'slow or not slow'

lint: $(READY) ## Check style and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(READY) ## Check types, strictly
	$(BIN)/mypy

docs: $(READY) ## Regenerate docs/passes.md from the passes themselves
	$(BIN)/python docs/generate.py

bench: $(READY) ## Compare with other tools on the same models, data and run; PHOTOS=DIR adds EfficientNet
	test -x $(RIVALS)/bin/python || $(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check nncf==3.4.0 onnx onnxruntime
	$(BIN)/python benchmarks/run.py --rivals $(RIVALS)/bin/python $(if $(PHOTOS),--photos $(PHOTOS))

models: $(READY) ## Fetch and export real public nets into models/real/
	$(BIN)/python models/fetch.py

clean: ## Remove everything that was made
	rm -rf $(VENV) $(RIVALS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
