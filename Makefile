# Every target builds .venv first, when it is missing or when the pinned versions changed; nothing else is to be set up.
# Python 3.11 or later and make are enough. uv is used where it is installed, because it is quicker.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv demo test test-all test-oldest test-newest lint bench docs lock

venv: .venv/complete

.venv/complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12")'
	@echo "Installing what requirements.lock pins into .venv; the first time takes a minute or two."
ifneq ($(shell command -v uv),)
	uv venv --quiet --allow-existing --python $(PYTHON) .venv
	uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	@touch $@

demo: venv
	$(BIN)/specdis demo --out demo
	$(BIN)/specdis verify demo/run
	@echo "Open demo/run/report/index.html in a browser."

# Two processes of one thread each are quicker on two cores than processes whose threads wait for each other. Files of
# tests are begun in their order: first the long ones of tests/analytic and tests/pipeline, last the many short ones.
PYTEST := pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
test test-all test-oldest test-newest: export PJRT_NPROC = 1
test test-all test-oldest test-newest: export OMP_NUM_THREADS = 1
test test-all test-oldest test-newest: export OPENBLAS_NUM_THREADS = 1

# All but the tests marked slow.
test: venv
	$(BIN)/$(PYTEST) -m "not slow"

test-all: venv
	$(BIN)/$(PYTEST)

# All tests with the oldest and with the newest versions that pyproject.toml allows, whatever is pinned. They need uv:
# make test-oldest PYTHON=python3.11, make test-newest PYTHON=python3.13. Old libraries call new ones by deprecated names.
test-oldest: RESOLUTION := lowest-direct
test-oldest: WARNINGS := -W default::DeprecationWarning
test-newest: RESOLUTION := highest
test-oldest test-newest: test-%:
	uv venv --quiet --clear --python $(PYTHON) .venv-$*
	uv pip install --quiet --python .venv-$*/bin/python --resolution $(RESOLUTION) --group dev --editable .
	.venv-$*/bin/$(PYTEST) $(WARNINGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet tests/unit/test_structure.py tests/unit/test_language.py

bench: venv
	$(BIN)/specdis bench --stars 3000

# What the pages say of the demonstration is measured anew where `make demo` has made it.
docs: venv
	$(BIN)/python tools/reference_pages.py docs
	$(BIN)/python tools/demo_numbers.py $(if $(wildcard demo/run/report/index.html),demo)
	$(if $(wildcard demo/run/report/index.html),$(BIN)/python tools/readme_picture.py demo/run docs/images/demo.png)
	$(BIN)/pytest tests/unit/test_docs.py
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs site
	@echo "Open site/index.html in a browser."

# Needs uv: chooses new versions for every Python and platform at once.
lock:
	uv pip compile pyproject.toml --group dev --universal --fork-strategy fewest --generate-hashes --upgrade \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock
