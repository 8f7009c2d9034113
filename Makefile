# Each target makes the virtual environment that it needs, when it is missing or older than pyproject.toml.
# PYTHON chooses the interpreter: make test PYTHON=python3.13

.PHONY: demo test test-quick test-lowest check proto bench readme clean

demo: .venv/demo/made
	.venv/demo/bin/otel-kafka demo $(ARGS)

# Every tier. The real one needs Java 17 and Maven; what is missing is skipped and said.
test: .venv/dev/made test-lowest
	.venv/dev/bin/python -m pytest $(ARGS)

# What needs no Java: seconds instead of a minute.
test-quick: .venv/dev/made
	.venv/dev/bin/python -m pytest -m "not integration" $(ARGS)

# The oldest release of each dependency that is supported; without what strikes at our own code only, step by step.
test-lowest: .venv/lowest/made
	.venv/lowest/bin/python -m pytest -m "not integration" tests/unit tests/functional \
	    --ignore tests/functional/test_interruptions.py --ignore tests/functional/test_crash_steps.py

check: .venv/dev/made
	.venv/dev/bin/ruff check
	.venv/dev/bin/ruff format --check
	.venv/dev/bin/mypy
	.venv/dev/bin/lint-imports
	scripts/proto check

# Rewrites the Python code of proto/.
proto: .venv/dev/made
	scripts/proto write

bench: .venv/dev/made
	.venv/dev/bin/python -m benchmarks.export $(ARGS)
	.venv/dev/bin/python -m benchmarks.direct $(ARGS)
	.venv/dev/bin/python -m benchmarks.burst $(ARGS)
	.venv/dev/bin/python -m benchmarks.publisher $(ARGS)
	.venv/dev/bin/python -m benchmarks.collector

# Rewrites the settings table of the README from the settings module.
readme: .venv/dev/made
	.venv/dev/bin/python scripts/settings_table.py README.md

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/demo/made: pyproject.toml scripts/venv
	scripts/venv .venv/demo --editable '.[demo]'
	@touch $@

.venv/dev/made: pyproject.toml scripts/venv
	scripts/venv .venv/dev --editable '.[demo]' --group test --group check --group proto
	@touch $@

.venv/lowest/made: pyproject.toml scripts/venv tests/lowest.txt
	scripts/venv .venv/lowest --editable '.[demo]' --group test --constraint tests/lowest.txt
	@touch $@
