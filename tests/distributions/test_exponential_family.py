"""Coordinates: there and back, and the KL as a Bregman divergence against the direct form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logvar
from logvar.distributions.exponential_family import (
    bregman_kl,
    expectation,
    from_expectation,
    from_natural,
    log_partition,
    natural,
)
from tests.cases import some
from tests.contracts.test_scales import MAIN, NAMES

RAWS = np.array([-1.2, -0.4, 0.0, 0.3, 0.9])
MEANS = np.array([-2.0, -0.5, 0.0, 0.7, 1.5])


@pytest.mark.parametrize("name", some(NAMES, quick=MAIN))
def test_there_and_back(name, float64):
    q = logvar.Normal(MEANS, RAWS, name)
    for back in (from_natural(natural(q), name), from_expectation(expectation(q), name)):
        np.testing.assert_allclose(back.mean, q.mean, atol=1e-10)
        np.testing.assert_allclose(back.sigma, q.sigma, rtol=1e-9)


@pytest.mark.parametrize("name", some(NAMES, quick=MAIN))
def test_parameters_are_the_formulas(name, float64):
    q = logvar.Normal(MEANS, RAWS, name)
    v = np.asarray(q.sigma) ** 2
    np.testing.assert_allclose(natural(q).first, MEANS / v, rtol=1e-10)
    np.testing.assert_allclose(natural(q).second, -1 / (2 * v), rtol=1e-10)
    np.testing.assert_allclose(expectation(q).second, MEANS**2 + v, rtol=1e-10)


@pytest.mark.parametrize("name", some(NAMES, quick=MAIN))
def test_kl_as_a_bregman_divergence_is_the_direct_form(name, float64):
    q, p = logvar.Normal(MEANS, RAWS, name), logvar.Normal(MEANS[::-1], RAWS[::-1] + 0.1, "log-std")
    np.testing.assert_allclose(bregman_kl(q, p), q.kl(p), rtol=1e-7, atol=1e-9)
    standard = logvar.Normal(0.0, 0.0, "log-std")
    np.testing.assert_allclose(bregman_kl(q, standard), q.kl(), rtol=1e-7, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(-3, 3), st.floats(-5, 5), st.floats(-3, 3))
def test_bregman_form_over_random_pairs(mean, raw, other_mean, other_raw):
    with jax.enable_x64(True):
        q = logvar.Normal(jnp.float64(mean), jnp.float64(raw), "log-std")
        p = logvar.Normal(jnp.float64(other_mean), jnp.float64(other_raw), "softplus")
        assert float(bregman_kl(q, p)) == pytest.approx(float(q.kl(p)), rel=1e-6, abs=1e-6)


def test_the_log_partitions_gradient_is_the_expectation_parameters(float64):
    q = logvar.Normal(MEANS, RAWS, "log-variance")
    gradient = jax.jit(jax.grad(lambda eta: jnp.sum(log_partition(eta))))(natural(q))
    np.testing.assert_allclose(gradient.first, expectation(q).first, atol=1e-12)
    np.testing.assert_allclose(gradient.second, expectation(q).second, rtol=1e-12)


def test_densities_multiply_by_adding_natural_parameters(float64):
    a, b = logvar.Normal(0.5, 0.2, "log-std"), logvar.Normal(-1.0, -0.3, "log-std")
    added = from_natural(
        type(natural(a))(*(x + y for x, y in zip(natural(a), natural(b), strict=True)))
    )
    z = np.linspace(-3, 3, 7)
    product = np.asarray(a.log_prob(z) + b.log_prob(z))
    shifted = product - np.asarray(added.log_prob(z))
    np.testing.assert_allclose(shifted, shifted[0], rtol=1e-9)


def test_what_is_no_normal_is_refused(float64):
    with pytest.raises(logvar.LogvarError, match="out of reach"):
        from_expectation(
            type(expectation(logvar.Normal(0.0, 0.0)))(jnp.asarray(2.0), jnp.asarray(3.0))
        )
    with pytest.raises(logvar.LogvarError, match="out of reach"):
        from_natural(type(natural(logvar.Normal(0.0, 0.0)))(jnp.asarray(2.0), jnp.asarray(0.5)))
