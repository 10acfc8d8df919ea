"""Mutual information, the KL of the aggregate posterior and MMD, against NumPy and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from logvar import scales
from logvar.data.examples import examples_of
from logvar.data.preparation import Preparation
from logvar.evaluation.aggregate import aggregate, maximum_mean_discrepancy
from logvar.evaluation.elbo import elbo_terms
from logvar.likelihoods.bernoulli import Bernoulli
from logvar.models.vae import VAEModel
from logvar.posteriors.diagonal import Diagonal
from logvar.posteriors.full import Full
from logvar.priors.mixture import Mixture
from logvar.priors.standard import Standard

ROWS = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
SIGMA = 0.3


def model(factor=1.0, posterior=None, prior=None):
    """q(z | x) = N(factor·x, 0.3²), and with `Full` a correlation."""
    is_full = isinstance(posterior, Full)

    def encoder(x):
        heads = factor * x, jnp.full(2, np.log(SIGMA), jnp.float32)
        return (*heads, jnp.full(1, 0.2, jnp.float32)) if is_full else heads

    def decoder(z):
        return jnp.zeros(2, jnp.float32) * z

    posterior = Diagonal(scales.get("log-std")) if posterior is None else posterior
    prior = Standard() if prior is None else prior
    return VAEModel(encoder, decoder, prior, Bernoulli(), posterior, 2)


def found(model, rows=ROWS):
    return aggregate(model, examples_of(rows), Preparation(), 0)


def test_each_log_density_is_that_of_scipy():
    n = 150  # more than a block
    for is_full in (False, True):
        one = model(posterior=Full(scales.get("log-std")) if is_full else None)
        draws = found(one, ROWS[:n])
        root = np.diag([SIGMA, SIGMA]) + is_full * np.array([[0, 0], [0.2, 0]])
        density = stats.multivariate_normal(np.zeros(2), root @ root.T)
        pairs = density.logpdf(draws.z[:, None] - ROWS[None, :n])
        expected = np.log(np.exp(pairs).mean(1))
        np.testing.assert_allclose(draws.log_q, np.diag(pairs), atol=2e-5)
        np.testing.assert_allclose(draws.log_aggregate, expected, atol=2e-5)
        np.testing.assert_allclose(draws.log_p, stats.norm.logpdf(draws.z).sum(1), atol=2e-5)


def test_the_kl_of_an_elbo_is_their_sum():
    for one in (model(), model(prior=Mixture(3).build(2, jax.random.key(0)))):
        draws = found(one)
        sampled = elbo_terms(one, ROWS, Preparation(), 0, analytic_kl=False).kl.sum(-1)
        np.testing.assert_allclose(draws.mutual_information + draws.kl, sampled, atol=3e-5)
        closed = elbo_terms(one, ROWS, Preparation(), 0).kl.sum(-1)
        error = (sampled - closed).std() / np.sqrt(len(ROWS)) + 1e-6
        assert abs((draws.mutual_information + draws.kl - closed).mean()) < 4 * error


def test_two_well_known_rows_by_quadrature():
    rows = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0]], np.float32), 400, axis=0)
    # Noise is a function of a row's bytes, so that equal rows need a difference to be draws.
    rows += 1e-4 * ROWS[:1] * np.arange(800, dtype=np.float32)[:, None] / 800
    draws = found(model(), rows)
    z = np.linspace(-4, 5, 20001)
    each = stats.norm.pdf(z[:, None], [0.0, 1.0], SIGMA)
    mixed = each.mean(1)
    inner = np.where(each > 0, each * np.log(np.maximum(each, 1e-300) / mixed[:, None]), 0)
    information = np.trapezoid(inner.mean(1), z)
    told = draws.mutual_information
    assert abs(told.mean() - information) < 4 * told.std() / np.sqrt(len(told))
    of_second = stats.norm.pdf(z, 0, SIGMA)
    kl = np.trapezoid(mixed * np.log(mixed / stats.norm.pdf(z)), z)
    kl += np.trapezoid(of_second * np.log(np.maximum(of_second, 1e-300) / stats.norm.pdf(z)), z)
    assert abs(draws.kl.mean() - kl) < 4 * draws.kl.std() / np.sqrt(len(told))


def test_the_extremes_of_the_mutual_information():
    nothing = found(model(factor=0.0))
    np.testing.assert_allclose(nothing.mutual_information, 0, atol=1e-5)
    everything = found(model(factor=1e4))
    np.testing.assert_allclose(everything.mutual_information, np.log(300), atol=1e-4)


def test_many_rows_are_thinned_by_the_seed_alone():
    few = aggregate(model(), examples_of(ROWS), Preparation(), 0, 130)
    assert len(few.log_q) == 130
    again = aggregate(model(), examples_of(ROWS), Preparation(), 0, 130)
    np.testing.assert_array_equal(few.z, again.z)
    assert few.mutual_information.max() <= np.log(130) + 1e-5


def test_mmd_is_the_sum_over_pairs():
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(140, 3)), rng.normal(0.5, 1, size=(140, 3))

    def mean_kernel(a, b, without_own):
        values = 6 / (6 + ((a[:, None] - b[None]) ** 2).sum(-1))
        return values[~np.eye(140, dtype=bool)].mean() if without_own else values.mean()

    expected = mean_kernel(z, z, True) + mean_kernel(y, y, True) - 2 * mean_kernel(z, y, True)
    assert maximum_mean_discrepancy(z, y).value == pytest.approx(expected, rel=1e-9)


def test_the_error_of_mmd_is_its_spread():
    rng = np.random.default_rng(2)
    for shift, ratio in ((0.0, 0.5), (1.0, 0.6)):
        repeats = [
            maximum_mean_discrepancy(rng.normal(size=(100, 2)), rng.normal(shift, 1, (100, 2)))
            for _ in range(200)
        ]
        values, errors = np.transpose(repeats)
        assert ratio < values.std() / errors.mean() < 1.2
        if not shift:
            assert abs(values.mean()) < 4 * values.std() / np.sqrt(200)
