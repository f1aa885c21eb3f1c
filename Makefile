# GNU make 3.81, as macOS has it, and any POSIX userland suffice. All a machine needs is Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= 2
BIN := $(VENV)/bin
COMPILED_TESTS := tests/golden tests/property tests/unit tests/acceptance/test_analyzers_cli.py \
    tests/acceptance/test_backtest_cli.py

.PHONY: help install demo test faults lint bench compiled soak pins docs audit licences sbom

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed ## install the program and what it needs into .venv

demo: $(VENV)/.installed ## a synthetic market through simulator, client and aggregator into a database, in a minute
	$(BIN)/escapement demo $(ARGS)

test: $(VENV)/.installed-dev ## run the tests (ARGS='-k bars' for some, JOBS=4 for more at once)
	@if command -v npm >/dev/null 2>&1; then \
	    if [ -f tests/js/package.json ]; then \
	        npm install --prefix tests/js --no-package-lock --no-audit --no-fund --loglevel=error; fi; \
	else echo "Without npm, tests that need it are left out (in CI they fail)."; fi
	@tests/projectxpy/install.sh
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

faults: $(VENV)/.installed-dev ## sessions and orders with every fault, and kill -9 of every program; forty minutes
	@($(BIN)/python soak/kills.py && $(BIN)/python soak/chain.py && $(BIN)/python soak/order_kills.py && \
	    $(BIN)/python soak/orders.py && $(BIN)/python soak/two_deployments.py --minutes 60 && \
	    $(BIN)/python soak/many_processes.py --minutes 20) & kills=$$!; \
	$(BIN)/python soak/faults.py --seeds 1-10; faults=$$?; \
	wait $$kills && exit $$faults

lint: $(VENV)/.installed-dev ## check style, types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## run every benchmark in turn
	@for program in benchmarks/*.py; do \
	    printf '\n%s\n' "$$program"; $(BIN)/python "$$program" || exit 1; done

compiled: $(VENV)/.installed-dev ## compile what analyzes and trades into build/compiled, test and measure it; needs a C compiler
	tools/compile_core.sh $(BIN)/python
	PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/python -m pytest -q -n $(JOBS) $(COMPILED_TESTS) $(ARGS)
	PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/python benchmarks/analysis.py
	$(BIN)/python benchmarks/backtest.py

soak: $(VENV)/.installed-dev ## what takes longer: busy markets, long sessions, many processes, more faults and kills; an hour and a half
	@for program in soak/busy_market.py soak/chain.py soak/faults.py soak/kills.py soak/long_session.py \
	    soak/many_processes.py soak/order_kills.py soak/orders.py soak/two_deployments.py; do \
	    printf '\n%s\n' "$$program"; $(BIN)/python "$$program" || exit 1; done

docs: $(VENV)/.installed-dev ## build the documentation site into site/, without a network; whatever is not right ends it
	PYTHONPATH=tools NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

audit: $(VENV)/.installed-dev ## compare what is installed with known weaknesses; needs the network
	@tools/audit.sh $(BIN)/pip-audit

licences: $(VENV)/.installed-dev ## check under which licences what is installed may be used
	@$(BIN)/python tools/check_licences.py

sbom: $(VENV)/.installed-dev ## list what is installed as build/sbom.json (CycloneDX)
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible \
	    --of JSON --output-file build/sbom.json

pins: $(VENV)/.installed-dev ## resolve pyproject.toml to the pins (ARGS=--upgrade for newer ones)
	$(BIN)/python -m pip install --quiet uv
	tools/pin_requirements.sh $(BIN)/python $(ARGS)

# A virtual environment whose making was cut short has no pip and is made again.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or later is needed and '$(PYTHON)' is not; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
	    echo "Python's venv module does not work; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
