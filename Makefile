# `make demo` and `make test` need Python >= 3.11 and Node >= 20, and install all else into .venv and node_modules.

PYTHON ?= python3
ENV ?= dev
BODIES ?= 1000000
SCHEDULES ?= 1000
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit e2e browser pictures soak bench up down synth bootstrap deploy destroy lock format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed node_modules/installed ## Classify real handwritten digits on this machine, explained
	@ICS_COMMAND=$(BIN)/ics $(BIN)/ics demo

test: lint types .venv-checks/installed .venv/chromium web/dist/built ## Check everything: style, types, unit, contract, infrastructure and end-to-end tests
	@$(BIN)/python -c "import torch" 2>/dev/null || echo "torch is not installed: the training tests are left out (pip install -r requirements-train.txt)"
	@mkdir -p build
	@echo "The end-to-end tests run beside the others; what they have to say is in build/e2e.log, and comes last"
	@$(BIN)/pytest tests/e2e >build/e2e.log 2>&1 & flows=$$!; \
	  $(BIN)/pytest --ignore=tests/e2e; others=$$?; wait $$flows; flows=$$?; \
	  cat build/e2e.log; exit $$((others + flows))

lint: .venv/installed web/node_modules/installed ## Check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	npm --prefix web run --silent lint

types: .venv/installed ## Check types
	$(BIN)/mypy

unit: .venv/installed node_modules/installed ## Run the tests that need no local AWS
	$(BIN)/pytest tests/unit tests/architecture tests/serving

e2e: .venv/installed node_modules/installed ## Run the end-to-end tests
	$(BIN)/pytest tests/e2e

browser: .venv/installed node_modules/installed .venv/chromium ## Run the tests that drive the page with a real Chromium
	$(BIN)/pytest tests/browser

pictures: .venv/installed node_modules/installed .venv/chromium ## Take the pictures of the page anew: docs/pictures/
	ICS_PICTURES=1 $(BIN)/pytest tests/browser/test_views.py

soak: .venv/installed node_modules/installed ## BODIES mutated bodies for all that reads what strangers wrote and for a model server; SCHEDULES bad days
	@mkdir -p build/soak
	$(BIN)/python -m tests.soak --bodies $(BODIES) 2>build/soak/decoders.log
	$(BIN)/python -m tests.soak.server --requests $(BODIES)
	$(BIN)/python -m tests.soak.schedules --schedules $(SCHEDULES)

bench: .venv/installed node_modules/installed .venv-peers/installed ## Measure ICS beside the usual ways and other servers; write docs/performance.md
	@$(BIN)/python -m benchmarks

up: .venv/installed node_modules/installed ## Start the local AWS and deploy into it
	@ICS_COMMAND=$(BIN)/ics $(BIN)/ics up

down: .venv/installed ## Stop the local AWS and all it started
	@$(BIN)/ics down

synth: .venv/installed node_modules/installed ## Synthesize the templates of ENV (needs no AWS, no Docker)
	cdk synth --quiet -c env=$(ENV) --output cdk.out.$(ENV)

bootstrap: .venv/installed node_modules/installed ## Prepare the account and region of ENV for the CDK, once
	cdk bootstrap -c env=$(ENV)

destroy: .venv/installed node_modules/installed ## Remove ENV from AWS; empty its buckets before
	cdk destroy --all -c env=$(ENV)

deploy: .venv/installed node_modules/installed ## Deploy ENV to AWS with your credentials (needs Docker for the serving image)
	cdk deploy --all -c env=$(ENV) --output cdk.out.$(ENV)
	@! grep -q '^\[web\]' environments/$(ENV).toml || $(BIN)/ics publish --env $(ENV)

lock: .venv/installed ## Pin every dependency anew, with hashes
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --custom-compile-command "make lock" requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --custom-compile-command "make lock" requirements-checks.in -o requirements-checks.txt
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	  --no-annotate --custom-compile-command "make lock" -c requirements.txt requirements-train.in \
	  | grep -vE '^(cuda|nvidia|triton)' > requirements-train.txt
	@for file in lambdas/*/requirements.in serving/requirements.in; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --custom-compile-command "make lock" -c requirements.txt \
	    $$file -o $${file%.in}.txt; done
	@for file in benchmarks/peers/*.in; do \
	  $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --custom-compile-command "make lock" -c serving/requirements.txt \
	    $$file -o $${file%.in}.txt; done

format: .venv/installed ## Format the code
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format

clean: ## Stop the local AWS, and remove all that these commands made
	@[ ! -x $(BIN)/ics ] || $(BIN)/ics down
	rm -rf .venv .venv-checks .venv-peers node_modules web/node_modules web/dist .ics build cdk.out* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# uv itself is taken from the lock file too, with its hash; then it installs the rest in seconds.
.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ICS needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Choose one with: make PYTHON=python3.12 ...")'
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { echo "venv failed; on Debian: apt install python3-venv"; exit 1; }
	@echo "Installing the locked Python packages into .venv"
	@awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements.txt > .venv/uv.txt
	@[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# checkov pins a boto3 of its own, so it gets an environment of its own.
.venv-checks/installed: requirements-checks.txt | .venv/installed
	@echo "Installing checkov into .venv-checks"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-checks
	@$(BIN)/uv pip install --quiet --python .venv-checks/bin/python --require-hashes -r requirements-checks.txt
	@touch $@

# The servers that the bench compares with: each lock file in an environment of its own, as they do not go together.
.venv-peers/installed: benchmarks/peers/requirements.txt benchmarks/peers/requirements-mlserver.txt | .venv/installed
	@echo "Installing other model servers into .venv-peers"
	@for name in requirements requirements-mlserver; do \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers/$$name && \
	  $(BIN)/uv pip install --quiet --python .venv-peers/$$name/bin/python --require-hashes \
	    -r benchmarks/peers/$$name.txt || exit 1; done
	@touch $@

# Playwright's own Chromium, else Debian's, wherever either can be had.
.venv/chromium: .venv/installed
	@echo "Installing Chromium for the tests of the page"
	@$(BIN)/playwright install chromium >/dev/null 2>&1 || command -v chromium >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo "No Chromium can be installed: put one into the PATH as chromium"; exit 1; }
	@touch $@

# The page: few tools of its own, and a stamp that is newer than all it is made of. `ics up` and `ics publish` ask for it.
web/node_modules/installed: web/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "ICS needs Node 20 or later (https://nodejs.org)"; exit 1; }
	@npm --prefix web ci --silent --loglevel=error --no-audit --no-fund
	@touch $@

web/dist/built: web/node_modules/installed web/index.html web/tsconfig.json web/vite.config.ts $(wildcard web/src/* web/public/*)
	@npm --prefix web run --silent build -- --logLevel warn
	@touch $@

node_modules/installed: package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "ICS needs Node 20 or later (https://nodejs.org)"; exit 1; }
	@echo "Installing the pinned CDK CLI into node_modules"
	@npm ci --silent --no-audit --no-fund
	@touch $@

test: node_modules/installed
