"""Tests run with strict dtype promotion, and with a compilation cache that ends with them."""

import itertools
import os
import tempfile
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")

# What these test is files, commands, failures and settings: programs compiled at LLVM's lowest
# level, in two thirds of the time, do as well. Tests of numbers compile as users do.
PLUMBING = {
    "test_crash.py", "test_cli.py", "test_parallel.py", "test_noise.py", "test_estimator.py", "test_imputing.py",
    "test_survival.py", "test_mixed.py", "test_diagnosis.py", "test_scale_commands.py", "test_comparing.py", "test_tables.py",
    "test_scikit_learn.py", "test_startup.py", "test_probe.py", "test_samplers.py", "test_docs.py", "test_storage.py", "test_checkpoints.py",
    "test_conversion.py", "test_snippets.py", "test_outside.py", "test_standardization.py", "test_compilations.py", "test_optimizers.py", "test_schedules.py", "test_trainable.py", "test_vamp.py",
    "test_conditions.py", "test_adapting.py", "test_extending.py", "test_classifier.py", "test_labels.py", "test_workers.py",
}  # fmt: skip

_TESTS = itertools.count(1)
_compiled_before: dict[str, bool] = {}
_COMPILED = "LOGVAR_TESTS_COMPILED"


def pytest_configure(config):
    """One folder of compiled programs for all workers: they compile many of the same."""
    if not hasattr(config, "workerinput"):
        config.compiled = tempfile.TemporaryDirectory(prefix="logvar-tests-")
        os.environ[_COMPILED] = config.compiled.name
        os.environ["LOGVAR_CACHE"] = config.compiled.name  # of the processes that tests start
    jax.config.update("jax_compilation_cache_dir", os.environ[_COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        config.compiled.cleanup()


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly(request):
    """For a whole module, so that runs whose bytes are compared are compiled alike.

    Programs of a module that was compiled otherwise are dropped: JAX does not tell them apart.
    """
    quickly = request.path.name in PLUMBING
    if quickly != _compiled_before.get("quickly", quickly):
        jax.clear_caches()
    _compiled_before["quickly"] = quickly
    if not quickly:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the processes they start
        jax.config.update("jax_disable_most_optimizations", True)
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def _few_compiled_programs():
    """Drop compiled programs before they are too many for one process.

    Each maps memory of its own, and the kernel allows a process 65,530 maps (vm.max_map_count):
    with thousands of small programs the next compilation dies of a segmentation fault.
    """
    yield
    if next(_TESTS) % 10:  # counting takes milliseconds
        return
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture
def float64():
    """Run a test in float64."""
    with jax.enable_x64(True):
        yield
