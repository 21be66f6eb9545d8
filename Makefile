# `make run` and `make test` set up all they need in .venv, and again only when the requirements change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: run test test-slow check format openapi bench image-check clean

run: $(RUN_READY) ## serve, with SQLite in data/
	$(BIN)/python app.py

test: $(DEV_READY) ## all tests but the slow ones
	$(BIN)/python -m pytest -n logical

test-slow: $(DEV_READY) ## the slow ones: kill -9, full disks, stalled clients, a browser
	$(BIN)/python -m pytest -m slow

check: $(DEV_READY) ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(MAKE) test

format: $(DEV_READY) ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(DEV_READY) ## write openapi.json anew
	PARLEY_DATA_DIR=$$(mktemp -d) $(BIN)/flask openapi

bench: $(DEV_READY) ## measure against a peer
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.run $(ARGS)

image-check: ## build the image with buildah, and try it
	@command -v buildah >/dev/null || { echo 'This needs buildah (and, without a registry, debootstrap).'; exit 1; }
	$(PYTHON) scripts/image_check.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Parley needs Python 3.11 or newer: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(RUN_READY): $(VENV)/.made requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
