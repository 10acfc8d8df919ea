"""KL(q ‖ p): every closed form against quadrature, and what is estimated where there is none."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from logvar.distributions.base import total
from logvar.distributions.kl import PAIRS, has_closed_form, kl
from logvar.distributions.low_rank import LowRankNormal
from logvar.distributions.mixture import NormalMixture
from logvar.distributions.multivariate import DiagonalNormal, FullNormal, StandardNormal
from logvar.distributions.power_spherical import PowerSpherical
from tests.distributions.examples import (
    LOG_STD,
    LOWER,
    MEAN,
    RAW,
    cholesky,
    computing_in,
    diagonal,
    full,
    full_of_two,
    mixture,
    mixture_log_prob,
    standard,
)

OF_TWO = {
    StandardNormal: lambda: standard(size=2),
    DiagonalNormal: lambda: diagonal(size=2),
    FullNormal: full_of_two,
    NormalMixture: lambda: mixture(size=2),
}
"""An example on two latents of each class: a new one with a closed form needs a line here."""
OTHER = {
    DiagonalNormal: lambda: DiagonalNormal(
        jnp.asarray([-0.3, 0.5]), jnp.asarray([0.2, -0.7]), LOG_STD
    )
}
"""What p is where it is of q's own class."""


def name(pair):
    return "-".join(c.__name__ for c in pair)


ELSEWHERE = {LowRankNormal: "test_low_rank.py", PowerSpherical: "test_power_spherical.py"}
"""The tests of KLs of densities whose noise is not one number for each latent."""


@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] not in ELSEWHERE], ids=name)
def test_every_closed_form_equals_quadrature_group_by_group(pair, float64):
    """E[log q − log p] under q by Gauss–Hermite quadrature, exact for these polynomials."""
    q, p = OF_TWO[pair[0]](), OTHER.get(pair[1], OF_TWO[pair[1]])()
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    grid = np.array(list(itertools.product(nodes, nodes)))
    weight = np.array([a * b for a, b in itertools.product(weights, weights)]) / (2 * np.pi)
    z = jax.jit(jax.vmap(q.draw))(jnp.asarray(grid))
    ratio = jax.jit(jax.vmap(lambda z: q.log_prob_groups(z) - p.log_prob_groups(z)))(z)
    np.testing.assert_allclose(kl(q, p), weight @ np.asarray(ratio), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("low", [0.0, -9.0], ids=["wide", "narrow"])
def test_full_to_standard_is_the_formula_of_textbooks(dtype, low):
    """½(tr Σ + μᵀμ − D − log det Σ), Σ by NumPy; and by a million draws."""
    raw = RAW + low
    covariance = cholesky(raw, LOWER) @ cholesky(raw, LOWER).T
    _, log_det = np.linalg.slogdet(cholesky(raw, LOWER))
    expected = 0.5 * (np.trace(covariance) + MEAN @ MEAN - 3 - 2 * log_det)
    with computing_in(dtype):
        got = total(kl(full(dtype, raw=raw), standard()))
    np.testing.assert_allclose(got, expected, rtol=1e-12 if dtype == "float64" else 1e-6)
    noise = np.random.default_rng(0).normal(size=(1_000_000, 3))
    log_q = stats.norm.logpdf(noise).sum(1) - log_det
    log_p = stats.norm.logpdf(MEAN + noise @ cholesky(raw, LOWER).T).sum(1)
    error = (log_q - log_p).std() / 1e3
    assert abs(float(got) - (log_q - log_p).mean()) < 5 * error


def test_the_kl_of_a_posterior_that_is_the_prior_is_nothing():
    with computing_in("float32"):
        nothing = full("float32", mean=np.zeros(3), raw=np.full(3, 1e-4), lower=np.zeros(3))
        got = np.asarray(kl(nothing, standard()), float)
    np.testing.assert_allclose(got, 1e-8, rtol=1e-3)  # ½(σ² − 1) − log σ = (log σ)² near 1


@pytest.mark.parametrize(
    "pair", [p for p in itertools.product(OF_TWO, OF_TWO) if p not in PAIRS], ids=name
)
def test_pairs_without_a_closed_form_say_so(pair):
    with computing_in("float64"):
        assert kl(OF_TWO[pair[0]](), OF_TWO[pair[1]]()) is None
    assert not has_closed_form(*pair)


def test_known_pairs_are_known():
    assert all(has_closed_form(*pair) for pair in PAIRS)


@pytest.mark.parametrize("q", [diagonal, full_of_two], ids=lambda q: q.__name__)
def test_the_kl_to_a_mixture_is_estimated_without_bias(q, float64):
    """Draws of log q − log p against quadrature with SciPy's densities."""
    q = q(size=2) if q is diagonal else q()
    factor = np.array([[np.exp(RAW[0]), 0], [0, np.exp(RAW[1])]])
    if isinstance(q, FullNormal):
        factor[1, 0] = LOWER[0]
    nodes = np.linspace(-9, 9, 401)
    grid = np.array(list(itertools.product(nodes, nodes)))
    z = MEAN[:2] + grid @ factor.T
    density = np.exp(stats.norm.logpdf(grid).sum(1)) * (nodes[1] - nodes[0]) ** 2
    log_q = stats.norm.logpdf(grid).sum(1) - np.log(np.diag(factor)).sum()
    expected = density @ (log_q - mixture_log_prob(z, size=2))

    def one(noise):
        return total(q.log_prob_groups_of_noise(noise)) - mixture(size=2).log_prob(q.draw(noise))

    noise = np.random.default_rng(5).normal(size=(100_000, 2))
    sampled = np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(noise)))
    assert abs(sampled.mean() - expected) < 5 * sampled.std() / np.sqrt(len(sampled))
    assert sampled.std() > 0.1
