# `make demo` shows it, `make test` checks it, `make crash` kills it, `make bench` measures it side by
# side with its peers, `make kernels` adds the optional kernels and tests them, `make clean` removes what
# they made.
# All paths are relative, so the checkout may lie in a folder with spaces in its name.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: demo test check crash bench kernels clean

demo: .venv/installed
	$(RUN) -m logvar fit digits --latent-dim 2 --out runs/digits --overwrite

test: check
	$(RUN) -m pytest -n 2 --dist worksteal

# The long version of the crash tests: about half an hour.
crash: .venv/tested
	$(RUN) -m tests.crash.harness --kills 50
	$(RUN) -m tests.crash.harness --kills 8 --signal SIGTERM --each-moment
	$(RUN) -m tests.crash.harness --kills 8 --signal SIGINT --each-moment
	$(RUN) -m tests.crash.fuzz --mutations 2000
	$(RUN) -m tests.crash.fuzz_files --mutations 2000
	$(RUN) -m tests.crash.divergence

# Needs MNIST: in LOGVAR_DATA, or `make bench LOGVAR_DATA=folder`.
bench: .venv/tested benchmarks/.venv/peers
	LOGVAR_DATA="$(LOGVAR_DATA)" $(RUN) benchmarks/run.py

benchmarks/.venv/peers: benchmarks/peers.txt
	$(PYTHON) tools/make_venv.py benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	touch benchmarks/.venv/peers

# Into .venv, where logvar uses them from then on if they are for this machine.
kernels: .venv/tested
	$(RUN) -m pip install --quiet "./kernels[test]"
	$(RUN) -m logvar doctor --environment
	cd kernels && ../$(RUN) -m pytest

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
	rm -rf .venv benchmarks/.venv runs .pytest_cache .mypy_cache .ruff_cache
