# `make help` lists the targets. `make demo` and `make test` set everything up themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTEST := .venv/bin/python -m pytest
SECONDS_OF_DEMO ?= 60
# What test-slow leaves out, such as AND_NOT="and not extended".
AND_NOT ?=

.PHONY: help setup demo up build deploy-local test test-slow test-torch explore bench prove check format env-example lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing (Debian packages, .venv, models); seconds when nothing changed
	@setup/setup.sh

demo: setup ## dub a minute of live Spanish video into English and verify it (SECONDS_OF_DEMO=60)
	@.venv/bin/livedub demo --seconds $(SECONDS_OF_DEMO) --out out/demo

up: setup ## run media server, STS and worker until Ctrl-C; prints where to publish and watch
	@.venv/bin/livedub up

build: setup ## build all that is deployed into build/: layers, the wheel, what hosts install; the same bytes every time
	@setup/build.sh

deploy-local: setup ## rehearse: every stack to a fresh AWS on this machine, a stream through it, new certificates; a verdict
	@PATH="$$PWD/.venv/bin:$$PATH" setup/deploy_local.sh

test: setup ## all fast tests, under 10 minutes on 2 cores
	@$(PYTEST) -q -n 3 -m "not slow and not realtime and not bench and not prove"
	@$(PYTEST) -q -m "realtime and not slow and not bench and not prove" tests/e2e tests/integration

test-slow: setup ## the tests that take longer: real models end to end, every fault on a live stream
	@$(PYTEST) -q -n 2 -m "slow and not realtime and not bench and not prove $(AND_NOT)"
	@$(PYTEST) -q -m "slow and realtime and not bench and not prove $(AND_NOT)" tests/e2e tests/integration

test-torch: setup ## the engines that need torch, in an environment of their own (.venv-torch, built when it changed)
	@setup/torch_environment.sh
	@.venv-torch/bin/python -m pytest -q -p no:cacheprovider -m "not slow and not bench and not prove" tests/torch

explore: setup ## property tests on many new random examples; what they find becomes a test
	@HYPOTHESIS_PROFILE=explore $(PYTEST) -q -n 2 -m "hypothesis and not slow and not bench and not prove"

bench: setup ## measure and write build/bench/*.json (see docs/benchmarks.md)
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r locks/bench.txt
	@$(PYTEST) -q -s -m bench

prove: setup ## long proofs; results are kept in tests/prove/results with the commit they measured
	@$(PYTEST) -q -s -m prove

check: setup ## formatting, lint, types, import layers
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/basedpyright
	@.venv/bin/lint-imports

format: ## format and fix what can be fixed
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

env-example: ## write .env.example from the settings classes
	@PYTHONPATH=. .venv/bin/python tests/unit/test_env_example.py

lock: ## resolve pyproject.toml into locks/*.txt again
	@setup/lock.sh

clean: ## remove what was built here (not the models)
	@rm -rf .venv .venv-torch .setup .tools build out cdk.out infra/node_modules
