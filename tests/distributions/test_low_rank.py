"""Normals with a diagonal plus a low-rank covariance, against SciPy and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.distributions.base import total
from logvar.distributions.kl import kl
from logvar.distributions.low_rank import LowRankNormal
from logvar.distributions.multivariate import StandardNormal
from tests.distributions.examples import LOG_STD, MEAN, RAW, computing_in

FACTOR = np.array([[0.7, -0.2], [-1.1, 0.4], [0.3, 0.9]])


def low_rank(dtype="float64", mean=MEAN, raw=RAW, factor=FACTOR):
    return LowRankNormal(*(jnp.asarray(a, dtype) for a in (mean, raw, factor)), LOG_STD)


def covariance(raw=RAW, factor=FACTOR):
    return np.diag(np.exp(2 * raw)) + factor @ factor.T


def some_noise(n, latents=3, rank=2, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, latents)), rng.normal(size=(n, rank))


@pytest.mark.parametrize("rank", [1, 2])
def test_density_and_draws_are_scipys(rank, float64):
    q, factor = low_rank(factor=FACTOR[:, :rank]), FACTOR[:, :rank]
    first, second = some_noise(5, rank=rank)
    z = jax.jit(jax.vmap(lambda *e: q.draw(e)))(jnp.asarray(first), jnp.asarray(second))
    expected = MEAN + np.exp(RAW) * first + second @ factor.T
    np.testing.assert_allclose(z, expected, rtol=1e-13)
    scipys = stats.multivariate_normal(MEAN, covariance(factor=factor))
    np.testing.assert_allclose(
        jax.jit(jax.vmap(q.log_prob))(z), scipys.logpdf(expected), rtol=1e-11
    )
    of_noise = jax.jit(jax.vmap(lambda *e: q.log_prob_groups_of_noise(e)))(first, second)
    np.testing.assert_allclose(total(of_noise), scipys.logpdf(expected), rtol=1e-11)
    np.testing.assert_allclose(q.covariance, covariance(factor=factor), rtol=1e-13)
    np.testing.assert_allclose(q.entropy(), scipys.entropy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("low", [0.0, -9.0], ids=["wide", "narrow"])
def test_the_kl_to_the_standard_normal_is_that_of_textbooks(dtype, low):
    """½(tr Σ + μᵀμ − D − log det Σ), and by 200,000 draws of log q − log p."""
    raw = RAW + low
    sigma = covariance(raw)
    expected = 0.5 * (np.trace(sigma) + MEAN @ MEAN - 3 - np.linalg.slogdet(sigma)[1])
    with computing_in(dtype):
        q = low_rank(dtype, raw=raw)
        got = kl(q, StandardNormal(3))
        assert got.shape == (1,)
        np.testing.assert_allclose(got[0], expected, rtol=1e-9 if dtype == "float64" else 1e-5)

        def ratio(first, second):
            log_q = total(q.log_prob_groups_of_noise((first, second)))
            return log_q - StandardNormal(3).log_prob(q.draw((first, second)))

        noise = (jnp.asarray(e, dtype) for e in some_noise(200_000))
        sampled = np.asarray(jax.jit(jax.vmap(ratio))(*noise), float)
    assert abs(sampled.mean() - expected) < 5 * sampled.std() / np.sqrt(len(sampled))


def test_log_q_keeps_its_digits_for_narrow_posteriors_and_parallel_columns():
    """σ = 1e-4 beside entries of W near 1, whose two columns are equal but for 1e-4: in float32
    I + VᵀV has no Cholesky factor."""
    raw = np.full(3, np.log(1e-4))
    factor = np.stack([FACTOR[:, 0], FACTOR[:, 0] + np.array([0, 1e-4, 0])], axis=1)
    first, second = some_noise(20)
    with computing_in("float64"):
        wide = low_rank("float64", raw=raw, factor=np.asarray(factor, np.float32))
        exact, z = jax.jit(
            jax.vmap(lambda *e: (wide.log_prob_groups_of_noise(e)[0], wide.draw(e)))
        )(first, second)
        with np.errstate(all="ignore"):
            by_numpy = stats.multivariate_normal(MEAN, np.asarray(wide.covariance)).logpdf(z)
    np.testing.assert_allclose(exact, by_numpy, rtol=1e-5)
    narrow = low_rank("float32", raw=raw, factor=factor)
    narrow_noise = (jnp.asarray(e, jnp.float32) for e in (first, second))
    got = jax.jit(jax.vmap(lambda *e: narrow.log_prob_groups_of_noise(e)[0]))(*narrow_noise)
    np.testing.assert_allclose(got, exact, atol=0.05)
    kl_of = lambda *a: LowRankNormal(*a, LOG_STD).kl_to_standard()  # noqa: E731
    slopes = jax.jit(jax.grad(kl_of, argnums=(0, 1, 2)))(narrow.mean, narrow.raw, narrow.factor)
    assert all(np.isfinite(leaf).all() for leaf in slopes)


def test_gradients_are_those_of_finite_differences(float64):
    noise = tuple(jnp.asarray(e[0]) for e in some_noise(1))

    @jax.jit
    def loss(raw, factor):
        q = LowRankNormal(jnp.asarray(MEAN), raw, factor, LOG_STD)
        z = jnp.asarray([0.3, -0.4, 1.1])
        return q.log_prob(z) + jnp.sum(q.log_prob_groups_of_noise(noise)) + q.kl_to_standard()

    at = jnp.asarray(RAW), jnp.asarray(FACTOR)
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(*at)
    step = 1e-6
    for i, j in ((0, (1,)), (1, (2, 0)), (1, (0, 1))):
        moved = [
            float(loss(*(a.at[j].add(sign * step) if k == i else a for k, a in enumerate(at))))
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(slopes[i][j], (moved[0] - moved[1]) / (2 * step), rtol=1e-6)


def test_no_array_is_of_latents_by_latents():
    """Not even in the gradient: the largest has (D + rank)·rank numbers."""
    latents, rank = 50, 2
    shapes = [(latents,), (latents,), (latents, rank)]

    def loss(mean, raw, factor, first, second):
        q = LowRankNormal(mean, raw, factor, LOG_STD)
        noise = (first, second)
        return q.log_prob(q.draw(noise)) + total(q.log_prob_groups_of_noise(noise))

    arrays = [jnp.ones(shape) for shape in [*shapes, (latents,), (rank,)]]
    text = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays).as_text()
    assert f"{latents + rank}x{rank}x" in text
    for size in (latents, latents + rank):
        assert f"{size}x{latents}x" not in text and f"{size}x{latents + rank}x" not in text


def test_a_rank_that_is_not_below_the_latents_is_refused():
    X = np.random.default_rng(0).normal(size=(20, 4))
    for rank in (2, 3):
        vae = logvar.VAE(latent_dim=2, epochs=1, posterior=f"low-rank(rank={rank})")
        with pytest.raises(logvar.LogvarError, match=f"has rank {rank} and latent_dim is 2.*full"):
            vae.fit(X)
