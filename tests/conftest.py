"""Tests run with strict dtype promotion, and without a compilation cache of their own."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")


@pytest.fixture(autouse=True)
def _few_compiled_programs():
    """Drop compiled programs before they are too many for one process.

    Each maps memory of its own, and the kernel allows a process 65,530 maps (vm.max_map_count):
    with thousands of small programs the next compilation dies of a segmentation fault.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture
def float64():
    """Run a test in float64."""
    with jax.enable_x64(True):
        yield
