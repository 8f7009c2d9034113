# Each target makes the virtual environment that it needs, when it is missing or older than pyproject.toml.
# PYTHON chooses the interpreter, VENV where its environments are: make test PYTHON=python3.13 VENV=.venv/python3.13

VENV = .venv
DEV = $(VENV)/dev/bin

.PHONY: demo test test-quick test-lowest test-all soak check proto bench readme screenshots surface clean

demo: $(VENV)/demo/made
	$(VENV)/demo/bin/otel-kafka demo $(ARGS)

# Tests wait for most of their time, and so run side by side; more than two at a time disturb each other on two cores.
WORKERS = 2
PYTEST = python -m pytest --numprocesses $(WORKERS) --dist worksteal

# Every tier. The real one needs Java 17 and Maven; what is missing is skipped and said.
test: $(VENV)/dev/made test-lowest
	$(DEV)/$(PYTEST) $(ARGS)

# What needs no Java: ten minutes on two cores, of which tests/unit takes one. For a change, run the tests that concern it:
# ARGS=tests/unit/outbox
test-quick: $(VENV)/dev/made
	$(DEV)/$(PYTEST) -m "not integration" $(ARGS)

# The oldest release of each dependency that is supported. Left out is what no release of one can change:
# what strikes at our own code, step by step;
LEFT_OUT = functional/test_crash_steps functional/test_fault_matrix functional/test_interruptions \
    functional/test_recovery_beside_load unit/delivery
# our own waits and locks, with the same gevent, and on the same clocks;
LEFT_OUT += functional/test_eventlet functional/test_frozen_time functional/test_gevent unit/process/test_os_threads
# the outbox, whose files are Python's and the kernel's;
LEFT_OUT += functional/test_crashes functional/test_cut_short functional/test_dead_letters \
    functional/test_directory_bound functional/test_disks functional/test_outbox_commands_hostile \
    functional/test_outbox_destinations functional/test_outbox_tries functional/test_outbox_trust \
    functional/test_copy_on_write functional/test_power_failure functional/test_power_promises \
    functional/test_windows unit/outbox
# the pages' and the source's own text, and the examples of commands that other tests run;
LEFT_OUT += functional/test_doctor_documents functional/test_tail_documents unit/test_architecture unit/test_docs \
    unit/test_images
# what installs the newest releases itself.
LEFT_OUT += functional/test_first_tasks functional/test_install_lines functional/test_readme \
    functional/test_sample_project
test-lowest: $(VENV)/lowest/made
	$(VENV)/lowest/bin/$(PYTEST) tests/unit tests/functional \
	    $(foreach left,$(LEFT_OUT),--ignore-glob 'tests/$(left)*')

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
	$(DEV)/python -m benchmarks.goals $(ARGS)
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
	scripts/venv $(VENV)/dev --editable '.[demo]' --group test --group check --group proto
	@touch $@

$(VENV)/lowest/made: pyproject.toml scripts/venv tests/lowest.txt
	scripts/venv $(VENV)/lowest --editable '.[demo]' --group test --constraint tests/lowest.txt
	@touch $@
