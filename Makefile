# Every target sets up .venv by itself when needed. Only python3 (with venv) and make are required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One more than there are cores: while one test waits for a clock or a server, another runs.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))

.PHONY: setup demo test test-long check bench student clean

setup: $(READY)

# torch goes first and alone: a CPU build is enough for everything here, and where an index or a local
# folder offers one under the pinned version, this takes it.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/isograd demo --output demo $(DEMO)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not long" $(TEST)

# The longest tests: thousands of faults, four processes, whole students.
test-long: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m long $(TEST)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/step_time.py $(BENCH)

# Retrains the built-in student and puts it in its place.
student: $(READY)
	$(BIN)/isograd student build --output build/student
	cp build/student/*.json build/student/model.safetensors src/isograd/student/checkpoint/

clean:
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
