"""Tests run with strict dtype promotion, and without a compilation cache of their own."""

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")


@pytest.fixture
def float64():
    """Run a test in float64."""
    with jax.enable_x64(True):
        yield
