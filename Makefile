# Each target makes the virtual environment that it needs, when it is missing or older than pyproject.toml.
# PYTHON chooses the interpreter, VENV where its environments are: make test PYTHON=python3.13 VENV=.venv/python3.13

VENV = .venv
DEV = $(VENV)/dev/bin

.PHONY: demo test test-quick test-lowest test-all soak check proto bench readme screenshots surface clean

demo: $(VENV)/demo/made
	$(VENV)/demo/bin/otel-kafka demo $(ARGS)

# Every tier. The real one needs Java 17 and Maven; what is missing is skipped and said.
test: $(VENV)/dev/made test-lowest
	$(DEV)/python -m pytest $(ARGS)

# What needs no Java: a quarter to half an hour on two cores, of which tests/unit takes three minutes. For a change, run the
# tests that concern it: ARGS=tests/unit/outbox
test-quick: $(VENV)/dev/made
	$(DEV)/python -m pytest -m "not integration" $(ARGS)

# The oldest release of each dependency that is supported; without what strikes at our own code only, step by step, and
# without what installs the newest ones.
test-lowest: $(VENV)/lowest/made
	$(VENV)/lowest/bin/python -m pytest -m "not integration" tests/unit tests/functional \
	    --ignore tests/functional/test_interruptions.py --ignore tests/functional/test_crash_steps.py \
	    --ignore tests/functional/test_fault_matrix.py --ignore tests/functional/test_recovery_beside_load.py \
	    --ignore tests/functional/test_readme.py --ignore tests/functional/test_install_lines.py \
	    --ignore tests/functional/test_first_tasks.py

# Every tier on every Python from 3.10 to 3.14 that is found; says which these are.
test-all:
	scripts/test_all $(ARGS)

# The fault matrix in its long form: an hour beside real brokers. Prints a table. ARGS: seconds, faults.
soak: $(VENV)/dev/made
	$(DEV)/python -m tests.matrix.soak $(ARGS)

check: $(VENV)/dev/made
	$(DEV)/ruff check
	$(DEV)/ruff format --check
	$(DEV)/mypy
	$(DEV)/lint-imports
	scripts/proto check

# Rewrites the Python code of proto/.
proto: $(VENV)/dev/made
	scripts/proto write

bench: $(VENV)/dev/made
	$(DEV)/python -m benchmarks.export $(ARGS)
	$(DEV)/python -m benchmarks.conversion
	$(DEV)/python -m benchmarks.direct $(ARGS)
	$(DEV)/python -m benchmarks.burst $(ARGS)
	$(DEV)/python -m benchmarks.publisher $(ARGS)
	$(DEV)/python -m benchmarks.collector
	$(DEV)/python -m benchmarks.tail
	$(DEV)/python -m benchmarks.sizes

# Rewrites the settings table of the README from the settings module.
readme: $(VENV)/dev/made
	$(DEV)/python scripts/settings_table.py README.md

# Makes the pictures of docs/images anew, of real runs (Java).
screenshots: $(VENV)/dev/made
	PYTHONPATH=. $(DEV)/python scripts/screenshots.py

# Writes down the public surface, which a test compares.
surface: $(VENV)/dev/made
	PYTHONPATH=. $(DEV)/python scripts/public_surface.py > tests/unit/public_surface.txt

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/demo/made: pyproject.toml scripts/venv
	scripts/venv $(VENV)/demo --editable '.[demo]'
	@touch $@

$(VENV)/dev/made: pyproject.toml scripts/venv
	scripts/venv .venv/dev --editable '.[demo]' --group test --group check --group proto
	@touch $@

$(VENV)/lowest/made: pyproject.toml scripts/venv tests/lowest.txt
	scripts/venv $(VENV)/lowest --editable '.[demo]' --group test --constraint tests/lowest.txt
	@touch $@
