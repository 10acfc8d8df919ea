"""Joint densities on latents: against SciPy, quadrature and the moments of their draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from logvar.distributions.base import total
from logvar.distributions.mixture import NormalMixture
from tests.distributions.examples import (
    LOG_STD,
    LOGITS,
    LOWER,
    MEAN,
    MEANS,
    RAW,
    RAWS,
    REFERENCES,
    cholesky,
    computing_in,
    full,
    full_of_two,
    mixture,
)

DTYPES = ("float64", "float32")
DIGITS = {"float64": 1e-12, "float32": 3e-6}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REFERENCES)
def test_the_density_is_scipys(name, dtype):
    build, reference = REFERENCES[name]
    z = np.random.default_rng(0).normal(size=(40, 3)) * 2
    with computing_in(dtype):
        got = jax.jit(jax.vmap(build(dtype).log_prob))(jnp.asarray(z, dtype))
        assert got.dtype == dtype
    expected = reference(z)
    np.testing.assert_allclose(got, expected, rtol=DIGITS[dtype], atol=DIGITS[dtype] * 10)


@pytest.mark.parametrize("name", REFERENCES)
def test_groups_add_up_to_the_joint_density(name, float64):
    density = REFERENCES[name][0]("float64")
    z = jnp.asarray(np.random.default_rng(1).normal(size=(20, 3)))
    groups = jax.jit(jax.vmap(density.log_prob_groups))(z)
    assert groups.shape == (20, 3 if density.by_latent else 1)
    np.testing.assert_allclose(total(groups), jax.jit(jax.vmap(density.log_prob))(z), rtol=1e-12)


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_the_density_of_noise_is_that_of_the_draw(name, float64):
    density = REFERENCES[name][0]("float64")
    noise = jnp.asarray(np.random.default_rng(2).normal(size=(20, 3)))
    z = jax.jit(jax.vmap(density.draw))(noise)
    by_noise = jax.jit(jax.vmap(density.log_prob_groups_of_noise))(noise)
    np.testing.assert_allclose(by_noise, jax.jit(jax.vmap(density.log_prob_groups))(z), rtol=1e-10)
    np.testing.assert_allclose(total(by_noise), REFERENCES[name][1](np.asarray(z)), rtol=1e-10)


def test_a_draw_is_the_mean_plus_l_times_the_noise(float64):
    noise = np.array([0.3, -1.4, 2.0])
    expected = MEAN + cholesky() @ noise
    np.testing.assert_allclose(full().draw(jnp.asarray(noise)), expected, rtol=1e-14)
    np.testing.assert_allclose(full().covariance, cholesky() @ cholesky().T, rtol=1e-14)


def test_a_group_is_the_density_given_the_latents_before_it(float64):
    """log ∫ q(z₀, z₁) dz₁ is the first group, and what is left of the joint is the second."""
    q = full_of_two()
    z0 = 0.9
    grid = np.linspace(-14, 14, 20_001)
    points = jnp.asarray(np.stack([np.full_like(grid, z0), grid], axis=1))
    marginal = np.trapezoid(np.exp(jax.jit(jax.vmap(q.log_prob))(points)), grid)
    groups = np.asarray(q.log_prob_groups(points[11_000]))
    np.testing.assert_allclose(groups[0], np.log(marginal), rtol=1e-9)
    joint = float(q.log_prob(points[11_000]))
    np.testing.assert_allclose(groups[1], joint - np.log(marginal), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_narrow_posteriors_keep_their_digits(dtype):
    """σ = 1e-4 around means of 1e3, next to entries of L of ordinary size."""
    raw, mean = np.full(3, np.log(1e-4)), 1e3 * MEAN
    noise = np.random.default_rng(3).normal(size=(20, 3))
    exact = stats.norm.logpdf(noise) - raw  # log |det L| = Σ log σᵢ
    with computing_in(dtype):
        q = full(dtype, mean=mean, raw=raw)
        got = jax.jit(jax.vmap(q.log_prob_groups_of_noise))(jnp.asarray(noise, dtype))
        np.testing.assert_allclose(got, exact, rtol=DIGITS[dtype])
        # The gradient that the reparameterized log q has in the raw outputs is −1 everywhere.
        of_raw = jax.jit(
            jax.grad(lambda raw: total(full(dtype, raw=raw).log_prob_groups_of_noise(q.mean)))
        )(q.raw)
        np.testing.assert_allclose(of_raw, -1.0, rtol=1e-6)
    reference = stats.multivariate_normal(
        mean, stats.Covariance.from_cholesky(cholesky(raw, LOWER))
    )
    with computing_in("float64"):
        q = full("float64", mean=mean, raw=raw)
        z = jax.jit(jax.vmap(q.draw))(jnp.asarray(noise))
        got = jax.jit(jax.vmap(q.log_prob))(z)
    # z itself has only so many digits: 1e3·ε/σ² of them are lost by any formula in z.
    np.testing.assert_allclose(got, reference.logpdf(np.asarray(z)), rtol=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_draws_have_the_density(name):
    """Mean, covariance and surprise of 100,000 draws, to five standard errors."""
    build, reference = REFERENCES[name]
    with computing_in("float64"):
        density = build("float64")
        keys = jax.random.split(jax.random.key(0), 100_000)
        z = np.asarray(jax.jit(jax.vmap(density.sample))(keys))
    n = len(z)
    if name == "mixture":
        pi = np.exp(LOGITS) / np.exp(LOGITS).sum()
        mean = pi @ MEANS
        spread = np.exp(2 * RAWS)
        second = np.einsum("k,ki,kj->ij", pi, MEANS, MEANS) + np.diag(pi @ spread)
        covariance = second - np.outer(mean, mean)
    else:
        factor = {"standard": np.eye(3), "diagonal": np.diag(np.exp(RAW)), "full": cholesky()}[name]
        mean = np.zeros(3) if name == "standard" else MEAN
        covariance = factor @ factor.T
    centred = z - mean
    assert (np.abs(centred.mean(0)) < 5 * z.std(0) / np.sqrt(n)).all()
    products = np.einsum("ni,nj->nij", centred, centred)
    assert (np.abs(products.mean(0) - covariance) < 5 * products.std(0) / np.sqrt(n)).all()
    # E[log p(z)] by importance from a wider Normal that SciPy draws: the sampler's own density.
    wide = stats.multivariate_normal(mean, 2 * covariance, seed=7)
    other = wide.rvs(400_000)
    weight = np.exp(reference(other) - wide.logpdf(other)) * reference(other)
    own = reference(z)
    error = np.hypot(own.std() / np.sqrt(n), weight.std() / np.sqrt(len(weight)))
    assert abs(own.mean() - weight.mean()) < 5 * error


@pytest.mark.parametrize("name", REFERENCES)
def test_draws_keep_the_dtype_of_the_parameters(name):
    with computing_in("float64"):
        z = REFERENCES[name][0]("float32").sample(jax.random.key(0))
    if name != "standard":  # which has no parameters
        assert z.dtype == jnp.float32


def test_entropy_is_scipys(float64):
    expected = stats.multivariate_normal(MEAN, cholesky() @ cholesky().T).entropy()
    np.testing.assert_allclose(full().entropy(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mixture_is_finite_far_out_and_with_a_component_of_no_weight(dtype):
    with computing_in(dtype):
        of_two = NormalMixture(
            jnp.asarray([0.0, -1e4], dtype),
            jnp.asarray([[0.0, 0.0], [1.0, 1.0]], dtype),
            jnp.full((2, 2), -9.0, dtype),
            LOG_STD,
        )
        alone = stats.norm(0, np.exp(-9.0))
        for z in ([1e-4, -2e-4], [-1e3, -1.0]):
            point = jnp.asarray(z, dtype)
            expected = alone.logpdf(np.asarray(z)).sum()
            np.testing.assert_allclose(of_two.log_prob(point), expected, rtol=1e-5)
            gradient = jax.jit(jax.grad(lambda p, z=point: p.log_prob(z), allow_int=True))(of_two)
            for leaf in (gradient.logits, gradient.means, gradient.raws):
                assert np.isfinite(leaf).all()


def test_equal_components_are_one_normal(float64):
    """Whatever their weights: they have to add up to one."""
    p = mixture()
    same = NormalMixture(
        p.logits, jnp.tile(p.means[:1], (3, 1)), jnp.tile(p.raws[:1], (3, 1)), LOG_STD
    )
    z = jnp.asarray([0.1, 0.2, 0.3])
    expected = stats.norm(np.asarray(p.means[0]), np.exp(np.asarray(p.raws[0]))).logpdf(z).sum()
    np.testing.assert_allclose(same.log_prob(z), expected, rtol=1e-12)
