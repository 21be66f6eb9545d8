# Each target creates .venv with what it needs, and installs again only if the requirements have changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: run test test-postgresql test-slow test-postgresql-slow test-page check format openapi vendor preload screenshots bench image-check clean

run: $(RUN_READY) ## serve on http://127.0.0.1:8080, with the database in data/
	$(BIN)/python app.py

test: $(DEV_READY) ## run all tests except the slow ones
	$(BIN)/python -m pytest -n logical

test-postgresql: $(DEV_READY) ## run the same tests on a PostgreSQL server, which is started for them
	$(BIN)/python -m pytest -n logical --postgresql

test-slow: $(DEV_READY) ## run the slow tests: kill -9, full disks, stalled clients, a fuzzer
	$(BIN)/python -m pytest -m slow

test-postgresql-slow: $(DEV_READY) ## stop, kill, cut off and fill PostgreSQL servers, and processes that share one
	$(BIN)/python -m pytest -m 'slow and postgresql' --postgresql

test-page: $(DEV_READY) ## use the page in Chromium
	$(BIN)/python -m pytest -n logical -m page tests/page

check: $(DEV_READY) ## check format, lint and types, and run the tests: what a change has to pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(MAKE) test

format: $(DEV_READY) ## format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(DEV_READY) ## write openapi.json from the routes and schemas
	PARLEY_DATA_DIR=$$(mktemp -d) $(BIN)/flask openapi

vendor: ## fetch the page's libraries, as scripts/vendor.py has them, with npm
	$(PYTHON) scripts/vendor.py

preload: ## write the list of the page's modules into static/index.html
	$(PYTHON) scripts/preload.py

screenshots: $(DEV_READY) ## take the pictures in docs/images, in Chromium
	$(BIN)/python -m scripts.screenshots

bench: $(DEV_READY) ## measure beside a FastAPI service; see benchmarks/README.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.run $(ARGS)

image-check: ## build the image with buildah and test it (as root)
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

$(DEV_READY): $(RUN_READY) requirements-dev.txt requirements-postgresql.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
