.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python -m
# A process that has to compile what it imports takes three times as long to start. The others change what Python
# imports, or where pip installs.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH PYTHONWARNINGS PIP_PREFIX PIP_TARGET PIP_USER
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml

help: ## this list
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it
demo: $(READY) ## start everything, place 1,000 orders, kill a consumer, and verify that nothing is lost
	@$(RUN) fanout demo

up: $(READY) ## start Kafka, Postgres, the schema registry and all services
	@$(RUN) fanout up

down: $(READY) ## stop everything; the data stays
	@$(RUN) fanout down

status: $(READY) ## what runs, and the memory it takes
	@$(RUN) fanout status

##@ Work on it
dev: $(READY) ## start everything, and restart what is affected whenever code is saved
	@$(RUN) fanout dev

install: $(READY) ## only make the Python environment, with the fanout command in .venv/bin

##@ Test it
check: $(READY) ## style, types, contracts, generated pages, import rules, migrations
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) fanout schemas check
	@$(RUN) docs.commands --check
	@$(RUN) docs.contracts --check
	@$(RUN) docs.dependencies --check
	@$(RUN) deploy.observability.dashboards --check
	@$(RUN) pytest -q tests/unit/test_imports.py
	@$(RUN) fanout check

test: $(READY) ## unit, integration and system tests, on the real servers
	@$(RUN) pytest

test-slow: $(READY) ## tests that are slow by design: freezes, long locks, a hundred thousand events
	@$(RUN) pytest tests/slow

chaos: $(READY) ## 2,000 orders and 40 faults with each of three seeds; reports in docs/reports
	@$(RUN) fanout up
	@for seed in 1 2 3; do $(RUN) fanout chaos run --orders 2000 --rate 10 --faults 40 --seed $$seed \
	  --report docs/reports/seed-$$seed || exit; done

chaos-long: $(READY) ## ten minutes at 20 orders a second and 100 faults, with each of three seeds
	@$(RUN) fanout up
	@for seed in 1 2 3; do $(RUN) fanout chaos run --for 10m --rate 20 --faults 100 --seed $$seed \
	  --report docs/reports/long-seed-$$seed || exit; done

api-test: $(READY) ## 5,000 requests to each API by schemathesis, with all its checks
	@$(RUN) pytest -q -s tests/slow/test_conformance.py

docs-test: $(READY) ## every command of docs/ and examples/, in stacks of their own
	@$(RUN) pytest -q -rs tests/pages

compose-test: $(READY) ## all tests of docker-compose.yml, in containers of their own
	@$(RUN) pytest -q --timeout=900 -rs tests/compose

##@ Generate
schemas: $(READY) ## write the Python types from the .avsc files, and the sums of new versions
	@$(RUN) fanout schemas generate

docs: $(READY) ## write what docs/ says of commands, events, HTTP APIs and licences from the code and the locks
	@$(RUN) docs.commands
	@$(RUN) docs.contracts
	@$(RUN) docs.dependencies

dashboards: $(READY) ## write the JSON of Grafana's dashboards from the code
	@$(RUN) deploy.observability.dashboards

pictures: $(READY) ## draw the pictures of the README from a demo
	@$(RUN) docs.pictures

lock: $(READY) ## pin the dependencies anew (needs uv): all of them, a service's, the tool's in a container
	@$(LOCK) --all-extras --group dev -o requirements.lock
	@$(LOCK) -c requirements.lock -o deploy/service.lock
	@$(LOCK) -c requirements.lock --extra tool -o deploy/tool.lock

audit: $(READY) ## known vulnerabilities of everything that is pinned (asks osv.dev)
	@$(RUN) docs.dependencies --audit

sbom: $(READY) ## print everything that is pinned as CycloneDX JSON
	@$(RUN) docs.dependencies --sbom

images: ## build the images of docker-compose.yml, and say how large they are
	@docker compose build -q
	@docker image ls --filter label=com.docker.compose.project=fanout --format '{{.Repository}} {{.Size}}' | sort

##@ Clean up
clean: ## stop everything, delete its data and the environment
	@if [ -x $(VENV)/bin/python ]; then $(RUN) fanout down --wipe; fi
	@rm -rf $(VENV) *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@deploy/environment $(PYTHON) $(VENV)
	@touch $@

.PHONY: help demo up dev down status install check test chaos chaos-long api-test docs-test test-slow compose-test schemas docs dashboards pictures lock audit sbom images clean
