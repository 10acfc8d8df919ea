"""Tests run with strict dtype promotion, and with a compilation cache that ends with them."""

import gc
import itertools
import os
import tempfile
from pathlib import Path

import jax
import pytest

from tests import levels

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")

TESTS = Path(__file__).parent
_TESTS = itertools.count(1)
_COMPILED = "LOGVAR_TESTS_COMPILED"


def pytest_addoption(parser):
    parser.addoption(
        "--compile", choices=levels.LEVELS,
        help="run the tests that are compiled this way in `make test` (tests/levels.py); else all, fully",
    )  # fmt: skip


def pytest_ignore_collect(collection_path, config):
    """Files of the other level are not even imported."""
    name = collection_path.relative_to(TESTS).as_posix()
    if collection_path.suffix == ".py" and not levels.selects(config.getoption("--compile"), name):
        return True


def pytest_configure(config):
    """One folder of compiled programs for all workers: they compile many of the same."""
    quickly = config.getoption("--compile") == "quickly"
    if not hasattr(config, "workerinput"):
        config.compiled = tempfile.TemporaryDirectory(prefix="logvar-tests-")
        os.environ[_COMPILED] = config.compiled.name
        os.environ["LOGVAR_CACHE"] = config.compiled.name  # of the processes that tests start
        if quickly:
            levels.compile_quickly()
    jax.config.update("jax_disable_most_optimizations", quickly)
    jax.config.update("jax_compilation_cache_dir", os.environ[_COMPILED])
    # Writing a program that was compiled quickly takes longer than compiling it again.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    # Traced programs are millions of objects that stay. Reading them again and again would take the
    # collector a tenth of the tests' time.
    gc.set_threshold(200_000, 20, 100)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        config.compiled.cleanup()


@pytest.fixture(autouse=True)
def _few_compiled_programs():
    """Drop compiled programs before they are too many for one process.

    Each maps memory of its own, and the kernel allows a process 65,530 maps (vm.max_map_count):
    with thousands of small programs the next compilation dies of a segmentation fault. Long before
    that, at 30,000, a process has 7 GB.
    """
    yield
    if next(_TESTS) % 10:  # counting takes milliseconds
        return
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 12_000:
        jax.clear_caches()


@pytest.fixture
def float64():
    """Run a test in float64."""
    with jax.enable_x64(True):
        yield
