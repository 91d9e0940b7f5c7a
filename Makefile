# nearcast: `make demo` runs the whole idea once, `make test` proves it. Both install what is missing first.
LAB ?= auto
TOPOLOGY ?= metro
SITE ?=
SUITE ?=
SEED ?= 1
PYTHON ?=

NEARCAST := .venv/bin/nearcast
PY := .venv/bin/python
RUN_OPTIONS = --lab $(LAB) --topology $(TOPOLOGY) --seed $(SEED) $(if $(SITE),--site '$(SITE)')
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test test-ryu up down bench clients kernel doctor lint format lock clean bootstrap

help: ## list the targets
	@echo 'make TARGET [LAB=guest|native|auto] [TOPOLOGY=metro|FILE] [SITE=DIR] [SEED=N]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: bootstrap ## measure the default claims on a real web site; the report lands in results/demo/
	@$(NEARCAST) run demo $(RUN_OPTIONS)

test: bootstrap ## lint, types, unit, property and golden tests, then the lab tests in the guest
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	$(PY) -m pytest -n auto
	@$(PY) -m lab.kernel
	$(PY) -m pytest tests/openvswitch tests/lab
	@$(MAKE) --no-print-directory test-ryu

test-ryu: bootstrap ## the same controller on ryu 4.34: a real Open vSwitch, and a whole lab
	@scripts/ryu.sh
	NEARCAST_OPENFLOW_RUNTIME=ryu $(PY) -m pytest tests/openvswitch/test_real_switch.py \
		tests/openvswitch/test_whole_controller.py tests/ryu

up: bootstrap ## start TOPOLOGY on the real clock with a prompt
	@$(NEARCAST) up --lab $(LAB) --topology $(TOPOLOGY)

down: bootstrap ## end what `make up` started
	@$(NEARCAST) down

bench: ## measure the wall time from boot to the first HTTP 200, the codec, and the edge beside nginx
	@scripts/bootstrap.sh bench
	@$(NEARCAST) bench --lab $(LAB) --topology $(TOPOLOGY) --seed $(SEED)
	$(PY) -m experiments.delivery_bench
	$(PY) -m experiments.http_bench $(if $(SUITE),--suite '$(SUITE)')

clients: ## a real browser, curl and dig use the service while an edge dies; the report lands in results/clients/
	@scripts/bootstrap.sh clients
	@$(NEARCAST) run clients $(RUN_OPTIONS)

kernel: bootstrap ## build the guest kernel unless the cache has it (minutes, once)
	@$(PY) -m lab.kernel

doctor: ## say what this machine offers and what mends it; installs nothing
	@if [ -x $(PY) ]; then $(PY) -m lab.doctor; else python3 -m lab.doctor; fi

lint: bootstrap ## ruff and mypy
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: bootstrap ## format the code and sort the imports
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

lock: bootstrap ## choose new versions of all Python packages: requirements.lock
	@scripts/lock.sh
	@scripts/ryu.sh
	@scripts/ryu.sh lock

clean: ## remove .venv, results and caches of this checkout (the kernel stays in the user's cache)
	rm -rf .venv .venv-ryu results build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

bootstrap:
	@scripts/bootstrap.sh
