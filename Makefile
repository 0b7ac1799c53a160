.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# A process that has to compile what it imports takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml

help: ## this list
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it
demo: $(READY) ## start everything, place 1,000 orders, kill a consumer, and verify that nothing is lost
	@$(VENV)/bin/fanout demo

up: $(READY) ## start Kafka, Postgres, the schema registry and all services
	@$(VENV)/bin/fanout up

down: $(READY) ## stop everything; the data stays
	@$(VENV)/bin/fanout down

status: $(READY) ## what runs, and the memory it takes
	@$(VENV)/bin/fanout status

##@ Work on it
install: $(READY) ## only make the Python environment, with the fanout command in .venv/bin

##@ Test it
check: $(READY) ## style, types, contracts, generated pages, import rules, migrations
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/fanout schemas check
	@$(VENV)/bin/python -m docs.commands --check
	@$(VENV)/bin/python -m docs.contracts --check
	@$(VENV)/bin/pytest -q tests/unit/test_imports.py
	@$(VENV)/bin/fanout check

test: $(READY) ## all tests, on the real servers
	@$(VENV)/bin/pytest

test-slow: $(READY) ## tests that are slow by design: freezes, long locks, a hundred thousand events
	@$(VENV)/bin/pytest tests/slow

api-test: $(READY) ## 5,000 requests to each API by schemathesis, with all its checks
	@$(VENV)/bin/pytest -q -s tests/slow/test_conformance.py

docs-test: $(READY) ## every command of docs/ and examples/, in stacks of their own
	@$(VENV)/bin/pytest -q -rs tests/pages

compose-test: $(READY) ## all tests of docker-compose.yml, in containers of their own
	@$(VENV)/bin/pytest -q --timeout=900 -rs tests/compose

##@ Generate
schemas: $(READY) ## write the Python types from the .avsc files, and the sums of new versions
	@$(VENV)/bin/fanout schemas generate

docs: $(READY) ## write what docs/ says of commands, events and HTTP APIs from the code
	@$(VENV)/bin/python -m docs.commands
	@$(VENV)/bin/python -m docs.contracts

pictures: $(READY) ## draw the pictures of the README from a demo
	@$(VENV)/bin/python -m docs.pictures

lock: $(READY) ## pin the dependencies anew (needs uv): all of them, a service's, the tool's in a container
	@$(LOCK) --all-extras --group dev -o requirements.lock
	@$(LOCK) -c requirements.lock -o deploy/service.lock
	@$(LOCK) -c requirements.lock --extra tool -o deploy/tool.lock

images: ## build the images of docker-compose.yml, and say how large they are
	@docker compose build -q
	@docker image ls --filter label=com.docker.compose.project=fanout --format '{{.Repository}} {{.Size}}' | sort

##@ Clean up
clean: ## stop everything, delete its data and the environment
	@if [ -x $(VENV)/bin/fanout ]; then $(VENV)/bin/fanout down --wipe; fi
	@rm -rf $(VENV) *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fanout needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making the Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -q --no-compile --disable-pip-version-check --require-hashes -r requirements.lock
	@$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib >/dev/null
	@touch $@

.PHONY: help demo up down status install check test api-test docs-test test-slow compose-test schemas docs pictures lock images clean
