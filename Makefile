# `make demo` shows it, `make test` checks it, `make crash` kills it, `make bench` measures it side by
# side with its peers, `make kernels` tests the optional kernels in an environment of their own, `make clean`
# removes what they made. `make test-all` runs every case of every test, all of it again with the newest and
# the lowest supported dependencies, and the kernels' tests; `make smoke PYTHON=python3.13` checks the built
# wheel in a clean environment of that Python.
# All paths are relative, so the checkout may lie in a folder with spaces in its name.
PYTHON ?= python3
RUN = .venv/bin/python
SOURCES := $(shell find src -name '*.py')
KERNELS := $(shell find kernels/src kernels/hatch_build.py -name '*.py' -o -name '*.[ch]')
# Empty is unset. The tests start many processes, and where no bytecode is kept, each compiles logvar again:
# a third of its start.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-all test-newest test-lowest test-kernels smoke check crash bench tables-peers counts-peers anomalies-peers kernels clean

demo: .venv/installed
	$(RUN) -m logvar fit digits --latent-dim 2 --out runs/demo --overwrite

# First nearly all, compiled quickly; then those that need what users run (tests/levels.py).
test: check
	$(RUN) -m pytest --compile=quickly -n 2 --dist worksteal
	$(RUN) -m pytest --compile=fully -n 2 --dist worksteal

# Hours on two cores. -m "" also selects the tests marked slow.
test-all: check
	$(RUN) -m pytest -m "" -n 2 --dist worksteal
	$(MAKE) test-newest
	$(MAKE) test-lowest
	$(MAKE) test-kernels

test-newest:
	python="$$("$(PYTHON)" tools/pythons.py --newest)" && "$$python" tools/make_venv.py .venvs/newest
	.venvs/newest/bin/python -m pip install --quiet --editable ".[test]"
	.venvs/newest/bin/python -m pytest -m "" -n 2 --dist worksteal

# Old libraries may deprecate each other; that is not for logvar to mend.
test-lowest:
	python="$$("$(PYTHON)" tools/pythons.py --oldest)" && "$$python" tools/make_venv.py .venvs/lowest
	.venvs/lowest/bin/python tools/lowest.py > .venvs/lowest.txt
	.venvs/lowest/bin/python -m pip install --quiet --constraint .venvs/lowest.txt --editable ".[test]"
	.venvs/lowest/bin/python -m pytest -m "" -n 2 --dist worksteal -W ignore::DeprecationWarning

test-kernels:
	@set -- $${CC:-cc}; if command -v "$$1" >/dev/null; then $(MAKE) kernels; \
	else echo "logvar-kernels is not tested: there is no C compiler ($$1)"; fi

# At most three minutes after the installation.
smoke: dist/built
	"$(PYTHON)" tools/make_venv.py .venvs/smoke
	.venvs/smoke/bin/python -m pip install --quiet dist/*.whl
	.venvs/smoke/bin/python -P tools/smoke.py

dist/built: pyproject.toml README.md $(SOURCES) | .venv/bin/python
	rm -rf dist
	$(RUN) -m pip wheel --quiet --no-deps --wheel-dir dist .
	touch dist/built

# The long version of the crash tests: about half an hour.
crash: .venv/tested
	$(RUN) -m tests.crash.harness --kills 50
	$(RUN) -m tests.crash.harness --kills 8 --signal SIGTERM --each-moment
	$(RUN) -m tests.crash.harness --kills 8 --signal SIGINT --each-moment
	$(RUN) -m tests.crash.fuzz --mutations 2000
	$(RUN) -m tests.crash.fuzz_files --mutations 2000
	$(RUN) -m tests.crash.divergence
	$(RUN) -m tests.crash.processes --kills 20

# Needs MNIST: in LOGVAR_DATA, or `make bench LOGVAR_DATA=folder`.
bench: .venv/tested benchmarks/.venv/peers
	LOGVAR_DATA="$(LOGVAR_DATA)" $(RUN) benchmarks/run.py

benchmarks/.venv/peers: benchmarks/peers.txt
	"$(PYTHON)" tools/make_venv.py benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	touch benchmarks/.venv/peers

# What benchmarks/tables/synthetic.py compares with. PyTorch first: ctgan alone may bring one with CUDA.
tables-peers: benchmarks/tables/.venv/peers

benchmarks/tables/.venv/peers: benchmarks/tables/peers.txt
	"$(PYTHON)" tools/make_venv.py benchmarks/tables/.venv
	benchmarks/tables/.venv/bin/python -m pip install --quiet torch==2.13.0
	benchmarks/tables/.venv/bin/python -m pip install --quiet --requirement benchmarks/tables/peers.txt
	touch benchmarks/tables/.venv/peers

# What benchmarks/anomalies compares with.
anomalies-peers: benchmarks/anomalies/.venv/peers

benchmarks/anomalies/.venv/peers: benchmarks/anomalies/peers.txt
	"$(PYTHON)" tools/make_venv.py benchmarks/anomalies/.venv
	benchmarks/anomalies/.venv/bin/python -m pip install --quiet torch==2.13.0
	benchmarks/anomalies/.venv/bin/python -m pip install --quiet --requirement benchmarks/anomalies/peers.txt
	touch benchmarks/anomalies/.venv/peers

# What benchmarks/counts/pbmc.py compares with, in Python 3.12 or later.
counts-peers: benchmarks/counts/.venv/peers

benchmarks/counts/.venv/peers: benchmarks/counts/peers.txt
	"$(PYTHON)" tools/make_venv.py benchmarks/counts/.venv
	benchmarks/counts/.venv/bin/python -m pip install --quiet --requirement benchmarks/counts/peers.txt
	touch benchmarks/counts/.venv/peers

# In an environment of their own, so that the one logvar is tested in stays without them. JAX 0.10, because
# with any other they are inert and nearly all of their tests are skipped.
kernels: kernels/.venv/installed
	kernels/.venv/bin/python -m logvar doctor --environment
	cd kernels && .venv/bin/python -m pytest

kernels/.venv/installed: pyproject.toml kernels/pyproject.toml $(KERNELS)
	test -x kernels/.venv/bin/python || "$(PYTHON)" tools/make_venv.py kernels/.venv
	kernels/.venv/bin/python -m pip install --quiet --editable ".[test]" "jax==0.10.*"
	kernels/.venv/bin/python -m pip install --quiet "./kernels[test]"
	touch kernels/.venv/installed

# --no-cache: whether a module counts as the project's own depends on which folders there are, and the cache of a
# file does not see that.
check: .venv/tested
	$(RUN) -m ruff check --no-cache .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

.venv/bin/python:
	"$(PYTHON)" tools/make_venv.py .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(RUN) -m pip install --quiet --editable .
	touch .venv/installed

.venv/tested: .venv/installed
	$(RUN) -m pip install --quiet --editable ".[test]"
	touch .venv/tested

clean:
	rm -rf .venv .venvs dist benchmarks/.venv benchmarks/tables/.venv benchmarks/counts/.venv benchmarks/anomalies/.venv kernels/.venv runs .pytest_cache .mypy_cache .ruff_cache
