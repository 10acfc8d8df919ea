"""The continuous Bernoulli in float32 against mpmath, and what "auto" says of grey intensities."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.assembly.decisions import decide
from logvar.recipe import Recipe

LIKELIHOOD = logvar.likelihoods.get("continuous-bernoulli")
SIZES = [0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.9999, 1.0001, 3.0, 20.0, 88.0, 1e3, 1e6]
LOGITS = np.array([*(-s for s in SIZES[1:]), *SIZES], np.float32)


def exact(l, x):
    """(log p, dlog p/dl = x − mean, mean) by mpmath."""
    with mpmath.workdps(60):
        l, x = mpmath.mpf(float(l)), mpmath.mpf(float(x))
        if l == 0:
            return 0.0, float(x) - 0.5, 0.5
        normalizer = mpmath.log(mpmath.expm1(l) / l)
        mean = 1 / -mpmath.expm1(-l) - 1 / l
        return float(x * l - normalizer), float(x - mean), float(mean)


@pytest.mark.parametrize("x", [0.0, 0.3, 0.5, 1.0])
def test_density_slope_and_mean_are_accurate_in_float32(x):
    x = jnp.float32(x)
    of = jax.jit(jax.vmap(jax.value_and_grad(lambda l: LIKELIHOOD.log_prob(x, l))))
    values, slopes = of(jnp.asarray(LOGITS))
    means = jax.jit(LIKELIHOOD.mean)(jnp.asarray(LOGITS))
    for l, value, slope, mean in zip(LOGITS, values, slopes, means, strict=True):
        log_p, expected_slope, expected_mean = exact(l, x)
        np.testing.assert_allclose(value, log_p, rtol=2e-6, atol=2e-7, err_msg=str(l))
        np.testing.assert_allclose(slope, expected_slope, rtol=1e-5, atol=2e-7, err_msg=str(l))
        np.testing.assert_allclose(mean, expected_mean, rtol=2e-6, err_msg=str(l))


@pytest.mark.parametrize("l", [-30.0, -2.0, 0.0, 1e-4, 5.0])
def test_draws_have_the_distribution(l):
    """Kolmogorov–Smirnov over 4,000 draws against the published distribution function."""
    drawn = np.asarray(LIKELIHOOD.sample(jnp.full(4000, l, jnp.float32), jax.random.key(1)), float)
    assert drawn.min() >= 0 and drawn.max() <= 1
    cdf = (lambda x: np.expm1(l * x) / np.expm1(l)) if l else (lambda x: x)
    assert stats.kstest(drawn, cdf).pvalue > 1e-4


def grey():
    return np.random.default_rng(0).uniform(size=(12, 3, 3))


def notes(rows, **settings):
    recipe = Recipe().replace(**settings)
    return decide(recipe, rows, custom_networks=False).notes


def test_auto_names_it_for_grey_intensities_and_only_there():
    (note,) = notes(grey())
    assert "cross-entropy, not a density" in note and "continuous-bernoulli" in note
    assert notes((255 * grey()).astype(np.uint8)) == (note,)
    assert notes((grey() > 0.5).astype(float)) == ()
    assert notes(grey(), binarization="dynamic") == ()
    assert notes(grey(), likelihood="bernoulli") == ()  # asked for by name
    assert notes(grey(), likelihood="continuous-bernoulli") == ()


def test_values_outside_and_binarization_are_refused():
    with pytest.raises(logvar.LogvarError, match="'continuous-bernoulli' got 2 at row 1"):
        decide(
            Recipe().replace(likelihood="continuous-bernoulli"),
            np.array([[0.5], [2.0]]),
            custom_networks=False,
        )
    with pytest.raises(
        logvar.LogvarError, match="binarization 'dynamic' goes with likelihood 'ber"
    ):
        notes(grey(), likelihood="continuous-bernoulli", binarization="dynamic")
