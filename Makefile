# `make demo` tags the example images; `make test` runs the tests; `make docs` builds the documentation into site/.
# Each makes its own virtual environment.

PYTHON ?= python3
RUNTIME := .venv/runtime
DEV := .venv/dev
DOCS := .venv/docs
# Many tests wait, for a server or a lock, so that one process more than processors keeps these busy.
# The tests start hundreds of commands; without bytecode on the disk each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))
PYTEST := $(DEV)/bin/python -m pytest --numprocesses $(PROCESSES) --dist loadfile
# Compiled modules are kept, whatever is set outside: hundreds of programs are started that would compile them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-fast test-long test-cost lint docs clean

$(RUNTIME)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# The CUDA build of torch is the only one that its torchvision fits; it runs on the CPU too.
$(DEV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[train,parquet,postgres,mysql,review,objects,ray,dev]'
	touch $@

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

demo: $(RUNTIME)/.ready
	mkdir -p demo
	$(RUNTIME)/bin/cataloger tag examples/images --db sqlite:///demo/catalog.db --output demo/catalog.csv --force
	$(RUNTIME)/bin/python examples/show_results.py demo/catalog.db

test: $(DEV)/.ready
	$(PYTEST) -m "not long"

test-fast: $(DEV)/.ready
	$(PYTEST) -m "not slow and not long"

test-long: $(DEV)/.ready
	$(PYTEST) -m long || [ $$? -eq 5 ]  # 5: there are none

# The same tests as `make test`, and how much processor time they took, servers and other programs included.
test-cost: $(DEV)/.ready
	$(DEV)/bin/python tests/processor_time.py $(PYTEST) -m "not long"

lint: $(DEV)/.ready
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

docs: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict

clean:
	rm -rf .venv demo build dist site
