# `make demo` shows it, `make test` checks it, `make crash` kills it, `make clean` removes what they made.
# All paths are relative, so the checkout may lie in a folder with spaces in its name.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: demo test check crash clean

demo: .venv/installed
	$(RUN) -m logvar fit digits --latent-dim 2 --out runs/digits --overwrite

test: check
	$(RUN) -m pytest -n 2 --dist worksteal

# The long version of the crash tests: about ten minutes.
crash: .venv/tested
	$(RUN) -m tests.crash.harness --kills 50
	$(RUN) -m tests.crash.harness --kills 10 --signal SIGTERM --seed 1
	$(RUN) -m tests.crash.harness --kills 10 --signal SIGINT --seed 2

check: .venv/tested
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

.venv/bin/python:
	$(PYTHON) tools/make_venv.py .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(RUN) -m pip install --quiet --editable .
	touch .venv/installed

.venv/tested: .venv/installed
	$(RUN) -m pip install --quiet --editable ".[test]"
	touch .venv/tested

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
