"""Power spherical distributions against mpmath, SciPy's Beta and quadrature."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.distributions.kl import kl
from logvar.distributions.power_spherical import (
    PowerSpherical,
    UniformSphere,
    direction,
    log_area,
    rise,
    spread,
)
from logvar.randomness import Gaussian, Key, noise
from tests.cases import slow
from tests.distributions.examples import LOG_STD, computing_in

KAPPAS = np.logspace(-3, 4, 15).astype(np.float32)
DIMENSIONS = (2, 3, 10, 11, 64, 200)  # even and odd ones have sums of their own


def sphere(latent_dim, kappa, seed=0, dtype=jnp.float32):
    mean = np.random.default_rng(seed).normal(size=latent_dim)
    return PowerSpherical(jnp.asarray(mean, dtype), jnp.log(jnp.asarray([kappa], dtype)), LOG_STD)


def some_noise(latent_dim, n, seed=1):
    normal, keys = noise((Gaussian((latent_dim - 1,)), Key()), jax.random.key(seed), (n,))
    return normal.astype(jnp.zeros(()).dtype), keys


def exact(latent_dim, kappa):
    """(S, KL, dKL/dκ, entropy) by mpmath with the formulas as published."""
    with mpmath.workdps(40):
        kappa, beta = mpmath.mpf(float(kappa)), mpmath.mpf(latent_dim - 1) / 2
        alpha = beta + kappa
        log_normalizer = (
            (alpha + beta) * mpmath.log(2)
            + beta * mpmath.log(mpmath.pi)
            + mpmath.loggamma(alpha)
            - mpmath.loggamma(alpha + beta)
        )
        mean_log = mpmath.log(2) + mpmath.digamma(alpha) - mpmath.digamma(alpha + beta)
        entropy = log_normalizer - kappa * mean_log
        half = mpmath.mpf(latent_dim) / 2
        area = mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)
        slope = kappa * (mpmath.polygamma(1, alpha) - mpmath.polygamma(1, alpha + beta))
        at_mode = kappa * mpmath.log(2) - log_normalizer + area
        return tuple(map(float, (at_mode, area - entropy, slope, entropy)))


@pytest.mark.parametrize("latent_dim", DIMENSIONS)
def test_kl_entropy_and_density_are_accurate_in_float32(latent_dim):
    """To 1e-4·KL + 1e-6 from κ = 1e-3 to 1e4, and with the derivative that training needs."""
    uniform = UniformSphere(latent_dim)
    value_and_slope = jax.jit(jax.vmap(jax.value_and_grad(lambda k: spread(k, latent_dim))))
    kls, slopes = value_and_slope(jnp.asarray(KAPPAS))
    rises = jax.jit(jax.vmap(lambda k: rise(k, latent_dim)))(jnp.asarray(KAPPAS))
    for kappa, got, slope, at_mode in zip(KAPPAS, kls, slopes, rises, strict=True):
        expected_rise, expected, expected_slope, entropy = exact(latent_dim, kappa)
        assert abs(float(got) - expected) < 1e-4 * expected + 1e-6
        np.testing.assert_allclose(slope, expected_slope, rtol=1e-4)
        np.testing.assert_allclose(at_mode, expected_rise, rtol=1e-5)
        # The entropy is log area − KL, of which 1e-6 is left in float32 beside its own size.
        assert abs(log_area(latent_dim) - float(got) - entropy) < 1e-4 * expected + 1e-6
    q = sphere(latent_dim, 7.0)
    assert kl(q, uniform).shape == (1,)
    np.testing.assert_allclose(kl(q, uniform)[0], exact(latent_dim, 7.0)[1], rtol=1e-5)
    np.testing.assert_allclose(q.entropy(), exact(latent_dim, 7.0)[3], rtol=1e-5)


@pytest.mark.parametrize("latent_dim", [slow(2), 3, slow(11), 64, slow(200)])
def test_draws_have_the_exact_distribution_of_t_and_the_mean_direction(latent_dim):
    """t = 2b − 1 with b ~ Beta((D−1)/2 + κ, (D−1)/2), by Kolmogorov–Smirnov over 2,000 draws, and
    the tangent has no direction."""
    of_kappa = jax.jit(
        lambda kappa, eps: jax.vmap(
            PowerSpherical(sphere(latent_dim, 1.0).mean, jnp.log(kappa)[None], LOG_STD).draw
        )(eps)
    )
    eps = some_noise(latent_dim, 2000)
    mean = np.asarray(sphere(latent_dim, 1.0).mean_direction, float)
    basis = np.linalg.svd(mean[None])[2][1:]
    half = (latent_dim - 1) / 2
    for kappa in (1e-3, 1.0, 30.0, 1e4):
        z = np.asarray(of_kappa(jnp.float32(kappa), eps), float)
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=2e-6)
        # 1 − b is a quarter of the squared distance from μ: small ones keep their digits.
        rest = 0.25 * np.sum((z - mean) ** 2, axis=1)
        assert stats.kstest(rest, stats.beta(half, half + kappa).cdf).pvalue > 1e-4
        resultant = kappa / (2 * half + kappa)
        error = z.std(0) / np.sqrt(len(z)) + 1e-7
        assert (np.abs(z.mean(0) - resultant * mean) < 5 * error).all()
        if latent_dim > 2:  # second moments along two axes of the tangent space are equal
            squares = (z @ basis.T) ** 2
            difference = squares[:, 0] - squares[:, -1]
            assert abs(difference.mean()) < 5 * difference.std() / np.sqrt(len(z))


@pytest.mark.parametrize("kappa", [0.5, slow(40.0)])
def test_the_density_integrates_to_one_and_is_that_of_the_draws(kappa, float64):
    """On the circle and on the sphere in three dimensions, by the trapezoidal rule."""
    angle = np.linspace(-np.pi, np.pi, 20_001)[:-1]
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    q = sphere(2, kappa, dtype=jnp.float64)
    density = np.exp(jax.jit(jax.vmap(q.log_prob))(jnp.asarray(circle)))
    np.testing.assert_allclose(density.mean() * 2 * np.pi, 1, rtol=1e-6)
    heights, turns = np.linspace(-1, 1, 1501), np.linspace(0, 2 * np.pi, 51)[:-1]
    heights = 0.5 * (heights[1:] + heights[:-1])  # on a sphere, height and turn have equal areas
    h, turn = (grid.reshape(-1) for grid in np.meshgrid(heights, turns))
    radius = np.sqrt(1 - h**2)
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), h], axis=1)
    q = sphere(3, kappa, dtype=jnp.float64)
    density = np.exp(jax.jit(jax.vmap(q.log_prob))(jnp.asarray(points)))
    np.testing.assert_allclose(density.mean() * 4 * np.pi, 1, rtol=1e-4)
    by_z_and_noise = jax.jit(
        jax.vmap(lambda e: (q.log_prob(q.draw(e)), q.log_prob_groups_of_noise(e)[0]))
    )
    log_q, of_noise = map(np.asarray, by_z_and_noise(some_noise(3, 5000)))
    np.testing.assert_allclose(of_noise, log_q, rtol=1e-9, atol=1e-9)
    entropy = exact(3, kappa)[3]
    assert abs(-log_q.mean() - entropy) < 5 * log_q.std() / np.sqrt(len(log_q))


def test_log_prob_is_accurate_at_both_poles():
    """κ = 1e4 near t = 1, where log((1 + t)/2) is a small number times κ, and t near −1, where
    1 + μᵀz has no digits."""
    q = sphere(11, 1e4)
    by_z_and_noise = jax.jit(
        jax.vmap(lambda e: (q.log_prob(q.draw(e)), q.log_prob_groups_of_noise(e)[0]))
    )
    np.testing.assert_allclose(*by_z_and_noise(some_noise(11, 200)), atol=2e-3)
    q = sphere(3, 2.0)
    for angle in (1e-2, 1e-3, 1e-4):  # between z and −μ
        mean = np.asarray(q.mean_direction, float)
        aside = np.linalg.svd(mean[None])[2][1]
        z = jnp.asarray(-np.cos(angle) * mean + np.sin(angle) * aside, jnp.float32)
        log_b = 2 * np.log(np.sin(angle / 2))
        expected = 2 * log_b + float(rise(jnp.float32(2.0), 3)) - log_area(3)
        np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-3)
    slopes = jax.jit(jax.grad(lambda z: q.log_prob(z)))(-0.999 * q.mean_direction)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize(("latent_dim", "kappa"), [(3, 0.3), slow(10, 20.0)])
def test_reparameterized_gradients_are_those_of_the_exact_moments(latent_dim, kappa, float64):
    """E[aᵀz] = κ/(D − 1 + κ)·aᵀμ and E[(μᵀz)²] by the Beta's moments; their derivatives in κ are
    the means of the draws' derivatives."""
    half = (latent_dim - 1) / 2
    eps = some_noise(latent_dim, 10_000)
    mean = sphere(latent_dim, kappa, dtype=jnp.float64).mean

    a = jnp.asarray(np.random.default_rng(5).normal(size=latent_dim))

    def moments(kappa, mean, eps):
        q = PowerSpherical(mean, jnp.log(kappa)[None], LOG_STD)
        z = q.draw(eps)
        t = z @ q.mean_direction
        return jnp.stack([t, t**2, z @ a])

    both = jax.jit(jax.vmap(jax.jacrev(moments, (0, 1)), (None, None, 0)))
    of_kappa, of_mean = map(np.asarray, both(jnp.asarray(kappa), mean, eps))
    slopes = of_kappa[:, :2]

    def of_beta(kappa):
        b = stats.beta(half + kappa, half)
        return np.array([2 * b.mean() - 1, 4 * b.moment(2) - 4 * b.mean() + 1])

    step = 1e-5 * kappa
    expected = (of_beta(kappa + step) - of_beta(kappa - step)) / (2 * step)
    error = slopes.std(0) / np.sqrt(len(slopes))
    assert (np.abs(slopes.mean(0) - expected) < 4.5 * error).all()
    assert abs(expected[0]) > 10 * error[0]  # so that a wrong sign or factor shows

    # In the mean direction: d/dm of E[aᵀz] is the resultant times the derivative of aᵀm/‖m‖.
    slopes = of_mean[:, 2]
    size = float(jnp.linalg.norm(mean))
    u = np.asarray(mean) / size
    expected = kappa / (2 * half + kappa) * (np.asarray(a) - u * (u @ np.asarray(a))) / size
    error = slopes.std(0) / np.sqrt(len(slopes))
    assert (np.abs(slopes.mean(0) - expected) < 5 * error).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mean_along_the_first_axis_is_no_special_case(sign):
    """There other Householder vectors have length 0."""
    q = PowerSpherical(jnp.asarray([2.0 * sign, 0.0, 0.0]), jnp.zeros(1), LOG_STD)
    eps = noise((Gaussian((2,)), Key()), jax.random.key(0))
    slopes = jax.jit(jax.jacrev(lambda m: PowerSpherical(m, q.raw, LOG_STD).draw(eps)))(q.mean)
    assert np.isfinite(slopes).all() and np.abs(slopes).max() < 10
    np.testing.assert_allclose(jnp.linalg.norm(q.draw(eps)), 1, rtol=1e-6)


def test_any_vector_has_a_direction():
    rows = jnp.asarray([[3.0, -4.0], [3e25, -4e25], [3e-30, -4e-30], [0.0, 0.0]])
    expected = [[0.6, -0.8]] * 3 + [[1, 0]]
    np.testing.assert_allclose(direction(rows), expected, rtol=1e-6)
    slopes = jax.jit(jax.grad(lambda rows: jnp.sum(direction(rows)[:, 0])))(rows)
    assert np.isfinite(slopes).all()


def test_the_uniform_distribution_on_the_sphere(float64):
    for latent_dim, area in ((2, 2 * np.pi), (3, 4 * np.pi), (4, 2 * np.pi**2)):
        np.testing.assert_allclose(np.exp(log_area(latent_dim)), area, rtol=1e-12)
    p = UniformSphere(4)
    z = np.asarray(jax.jit(jax.vmap(p.sample))(jax.random.split(jax.random.key(0), 4000)))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-6)
    # (1 + z₁)/2 ~ Beta(3/2, 3/2)
    assert stats.kstest((1 + z[:, 0]) / 2, stats.beta(1.5, 1.5).cdf).pvalue > 1e-4
    np.testing.assert_allclose(p.log_prob(jnp.asarray(z[0])), -np.log(2 * np.pi**2), rtol=1e-12)


def test_draws_are_the_same_in_float32_and_float64():
    """A row scored in float64 has the noise it has in float32."""
    eps = noise((Gaussian((4,)), Key()), jax.random.key(7), (50,))
    z = {}
    for dtype in ("float32", "float64"):
        with computing_in(dtype) as of:
            q = sphere(5, 3.0, dtype=of)
            z[dtype] = np.asarray(jax.jit(jax.vmap(q.draw))((eps[0].astype(of), eps[1])))
    np.testing.assert_allclose(z["float32"], z["float64"], atol=1e-4)


def test_what_does_not_go_with_a_sphere_is_refused():
    X = np.random.default_rng(0).normal(size=(20, 4))

    def fit(**settings):
        logvar.VAE(epochs=1, **({"latent_dim": 3} | settings)).fit(X)

    both = {"posterior": "power-spherical", "prior": "uniform-sphere"}
    with pytest.raises(logvar.LogvarError, match="latent_dim 1.*two points.*at least 2"):
        fit(latent_dim=1, **both)
    with pytest.raises(
        logvar.LogvarError, match="'power-spherical' lies on 'sphere' and prior 'st"
    ):
        fit(posterior="power-spherical")
    with pytest.raises(logvar.LogvarError, match="'diagonal' lies on 'real' and prior 'uniform-sp"):
        fit(prior="uniform-sphere")
