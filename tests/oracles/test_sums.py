"""Folded sums against exact ones, in arithmetic of 50 digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from logvar.scales.numerics import combined_by_halves, sum_of_softplus

SIZES = [1, 2, 3, 8, 13, 20, 64, 784]
SPREADS = [1e-3, 1.0, 8.0, 40.0]


def drawn(size, spread):
    return np.random.default_rng(size).normal(0, spread, size).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_folding_loses_no_number_and_counts_none_twice(size):
    values = 2.0 ** np.arange(size % 20) if size < 20 else np.arange(float(size))
    assert float(jnp.sum(combined_by_halves(jnp.asarray(values, jnp.float32)))) == values.sum()


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", SIZES)
def test_a_sum_of_softplus_is_exact_to_rounding(size, spread):
    t = drawn(size, spread)
    with mpmath.workdps(50):
        exact = mpmath.fsum(mpmath.log1p(mpmath.exp(mpmath.mpf(float(v)))) for v in t)
        error = abs(mpmath.mpf(float(sum_of_softplus(jnp.asarray(t)))) / exact - 1)
    assert error < 1e-6


@pytest.mark.parametrize("far", [-30.0, -60.0])
def test_what_is_far_below_one_is_not_lost_in_it(far):
    """Eight pixels right beyond doubt: each costs e^far nats, which 1 + e^far would swallow."""
    found = float(sum_of_softplus(jnp.full(8, far, jnp.float32)))
    assert found == pytest.approx(8 * float(mpmath.exp(far)), rel=1e-6)


@pytest.mark.parametrize("spread", SPREADS)
def test_its_slope_is_sigmoid_and_finite_everywhere(spread):
    t = jnp.asarray(np.append(drawn(63, spread), 200.0), jnp.float32)
    slope = jax.grad(lambda t: 3.0 * sum_of_softplus(t))(t)
    np.testing.assert_allclose(slope, 3.0 * jax.nn.sigmoid(t), rtol=1e-6)
