# `make test` and `make demo` do everything in a virtual environment of their own; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
BIN = $(VENV)/bin

.PHONY: test lint demo web clean

PAGE = src/headstudio/export/web_page/index.html

# Two processes with one thread each: small tensors gain nothing from more, and the suite is made of small tensors.
test: lint web
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

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

$(VENV)/ready-to-develop: $(VENV)/ready-to-run scripts/browser.sh
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	sh scripts/browser.sh
	touch $@
