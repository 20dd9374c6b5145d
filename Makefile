# `make test` and `make demo` do everything in a virtual environment of their own; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
BLENDER_VENV ?= .venv-blender
OUT ?= out/demo
BIN = $(VENV)/bin

.PHONY: test test-blender lint demo web clean

PAGE = src/headstudio/export/web_page/index.html

# Two processes with one thread each: small tensors gain nothing from more, and the suite is made of small tensors.
test: lint web
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The scenes of `headstudio export --to blender`, opened again in Blender, which gets an environment of its own.
test-blender: $(VENV)/ready-to-develop web
	sh scripts/blender.sh $(BLENDER_VENV)
	if [ -x $(BLENDER_VENV)/bin/python ]; then export HEADSTUDIO_BLENDER=$(abspath $(BLENDER_VENV))/bin/python; fi; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/export/test_export_blender_scene.py tests/test_tutorial.py

lint: $(VENV)/ready-to-develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

demo: $(VENV)/ready-to-run
	$(BIN)/headstudio demo -o $(OUT)

# The page of `headstudio export --to web`; wheels carry it.
web: $(PAGE)

$(PAGE): $(shell find web/src web/static -type f) web/build.mjs web/package-lock.json
	sh scripts/build_web.sh

clean:
	rm -rf $(VENV) build dist web/node_modules $(dir $(PAGE))

$(VENV)/ready-to-run: pyproject.toml constraints.txt scripts/install_torch.sh scripts/system_libraries.sh
	$(PYTHON) -m venv $(VENV)
	sh scripts/install_torch.sh $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[onnx]'
	sh scripts/system_libraries.sh $(BIN)/python
	touch $@

$(VENV)/ready-to-develop: $(VENV)/ready-to-run scripts/browser.sh scripts/godot.sh
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	sh scripts/browser.sh
	sh scripts/godot.sh
	touch $@
