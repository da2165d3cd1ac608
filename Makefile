# Every target makes .venv first, from locked and hashed requirements.
.DELETE_ON_ERROR:
.PHONY: help run run-split test check guards format bench bench-topologies image real-year lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:
	@echo "make run       the store on http://127.0.0.1:8000, with all that it needs"
	@echo "make run-split  the same as four services behind HAProxy, with all the servers they need"
	@echo "make test       all tests, on real servers that they start and end"
	@echo "make check      format, lint, types, architecture"
	@echo "make guards     each guard of the promises taken away: which test notices"
	@echo "make bench      purchases, pages and sign-ins beside bare ASGI"
	@echo "make bench-topologies  one process, wire codec and split, at the same load"
	@echo "make image      the container image, built here without an engine (root, buildah)"
	@echo "make real-year  a real retailer's year through the API (DAYS=7 for a week of it)"
	@echo "make format     lay the code out"
	@echo "make lock       resolve the requirements anew"

$(VENV)/.run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tradewind needs Python 3.11 or newer; this is $$($(PYTHON) --version). Set PYTHON=python3.12, say."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "No virtual environment could be made: install python3-venv."; exit 1; }
	@echo "Installing what the store needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what its tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

run: $(VENV)/.run
	@exec $(BIN)/tradewind run

# Options: make run-split ARGS="--instances orders=3 --first-port 9000"
run-split: $(VENV)/.run
	@exec $(BIN)/tradewind split $(ARGS)

# What tests and topologies start besides PostgreSQL: installed on Debian and Ubuntu as root, else
# named.
$(VENV)/.servers: tests/servers_here.py $(VENV)/.dev
	@$(BIN)/python -m tests.servers_here
	@touch $@

test: $(VENV)/.dev $(VENV)/.servers
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/architecture

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Takes each guard of the promises away and shows which test notices.
guards: $(VENV)/.dev $(VENV)/.servers
	@$(BIN)/python -m tests.faults.guards $(ARGS)

bench: $(VENV)/.dev
	@$(BIN)/python -m bench $(ARGS)

bench-topologies: $(VENV)/.dev $(VENV)/.servers
	@$(BIN)/python -m bench.topologies $(ARGS)

image:
	@sh deploy/build_image.sh

real-year: $(VENV)/.dev
	@$(BIN)/python -m bench.real_year $(if $(DAYS),--days $(DAYS)) $(ARGS)

# Hashes of every platform's files, and no address of any registry.
lock:
	@$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	@$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--extra embedded --group build pyproject.toml -o requirements/run.txt
	@$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--extra embedded --group build --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		-c requirements/run.txt pyproject.toml -o requirements/image.txt
	@$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--group build -c requirements/run.txt -o requirements/build.txt

clean:
	rm -rf $(VENV) results .pytest_cache .ruff_cache .hypothesis
