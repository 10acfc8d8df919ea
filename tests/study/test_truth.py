"""Is the experiment itself true? Known effects, an exact target, measurements against formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar import assembly, scales
from logvar.data.sources import load
from logvar.evaluation.elbo import elbo_terms
from logvar.recipe import Recipe
from logvar.study.measuring import measure


@pytest.mark.parametrize(("name", "recorded"), [("log-variance", 0.00255), ("log-std", 0.0106)])
def test_the_stationary_variance_of_log_sigma_under_sgd(name, recorded):
    """ηd²/2 to leading order; recorded by Monte Carlo at η = 0.02 (docs/why-log-variance.md)."""
    scale, rate = scales.get(name), 0.02

    def loss(raw, eps):
        q = logvar.Normal(jnp.zeros(()), raw, scale)
        return 0.5 * jnp.square(q.reparameterize(eps)) - q.log_sigma

    def step(raw, key):
        eps = jax.random.normal(key, raw.shape)
        return raw - rate * jax.vmap(jax.grad(loss))(raw, eps), None

    @jax.jit
    def run(raw, key):
        return jax.lax.scan(step, raw, jax.random.split(key, 1500))[0]

    raw = run(jnp.zeros(4000), jax.random.key(0))
    measured = float(jnp.var(scale.log_sigma(raw)))
    # 4,000 chains: the variance of a variance is about 2/4000 of its square.
    assert measured == pytest.approx(recorded, rel=0.08)
    d = float(scale.slope(0.0))
    assert measured == pytest.approx(rate * d**2 / 2, rel=0.15)


def linear_gaussian(eigenvalues, rows=1500):
    """Rows whose standardized covariance has these eigenvalues exactly."""
    rng = np.random.default_rng(0)
    features = len(eigenvalues)
    white = rng.normal(size=(rows, features))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / rows)).T
    # A Hadamard rotation gives every feature the mean of the eigenvalues as its variance: 1.
    hadamard = np.array([[1.0]])
    while len(hadamard) < features:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return (white * np.sqrt(eigenvalues)) @ hadamard / np.sqrt(features)


EIGENVALUES = np.array([4.8, 1.8, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2])  # of a correlation matrix
NOISE = 0.5  # σ² in standardized units


@functools.cache
def fitted(name):
    """A linear VAE with four latents on rows whose two largest eigenvalues exceed σ²."""
    X = linear_gaussian(EIGENVALUES)
    np.testing.assert_allclose(X.std(0), 1, atol=1e-6)
    vae = logvar.VAE(
        latent_dim=4, hidden=(), scale=name, likelihood="normal", noise="fixed",
        noise_sigma=NOISE**0.5, noise_floor=0.0, epochs=300, batch_size=500, learning_rate=0.02, n_samples=4,
        patience=0, validation_fraction=0,
    )  # fmt: skip
    return X.astype(np.float32), vae.fit(X)


@pytest.mark.parametrize("name", ["log-variance", "log-std", "softplus"])
def test_every_scale_reaches_the_exact_optimum_of_linear_gaussian_data(name):
    """Probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019): posterior variance σ²/λ, mean
    KL ½·log(λ/σ²), collapse where λ ≤ σ²."""
    X, vae = fitted(name)
    each = elbo_terms(vae.model_, X, vae._preparation, 0, n_samples=50)
    above = EIGENVALUES[EIGENVALUES > NOISE]
    expected = np.concatenate([0.5 * np.log(above / NOISE), np.zeros(4 - len(above))])
    np.testing.assert_allclose(np.sort(each.kl.mean(0))[::-1], expected, atol=0.08)
    variance = np.sort(np.asarray(vae.model_.scale.variance(each.raw)).mean(0))
    np.testing.assert_allclose(variance[: len(above)], NOISE / above, rtol=0.25)
    # The ELBO there is the log-likelihood of probabilistic PCA, in the data's own units.
    kept = np.maximum(EIGENVALUES, NOISE)
    log_likelihood = -0.5 * np.sum(np.log(2 * np.pi * kept) + EIGENVALUES / kept)
    assert each.elbo.mean() == pytest.approx(log_likelihood, abs=0.03)


def test_measurements_agree_with_the_formulas_on_a_linear_model():
    """At the optimum of a linear model the curvature in r is 2d², and the gradient's noise at least
    the part of it that the residuals of single rows do not add to."""
    X, vae = fitted("log-variance")
    run = assembly.build_run(vae.recipe_, X, X[:10])
    figures, elbos = measure(
        vae.model_, scales.get("log-variance"), X, vae._preparation, run.objective, seed=0,
        importance_samples=5, analytic_kl=True,
    )  # fmt: skip
    assert figures.curvature == pytest.approx(figures.curvature_predicted, rel=0.1)
    assert figures.curvature_predicted == pytest.approx(0.5)
    assert figures.gradient_noise > 0.8 * figures.gradient_noise_predicted
    assert figures.test_elbo == pytest.approx(float(elbos.mean()))
    assert 0 < figures.gradient_share < 1
    assert figures.active_units == 2


def test_gradient_noise_against_the_exact_variance():
    """For a fixed quadratic log-likelihood −h(z − a)²/2 the variance is known in closed form."""
    digits = load("digits").test[:40]
    recipe = Recipe().replace(latent_dim=2, hidden=(8,))
    noise = {}
    for name in ("log-variance", "log-std"):
        run = assembly.build_run(
            recipe.replace(scale=name, initial_sigma=1.0), digits[:30], digits[30:]
        )
        figures, _ = measure(
            run.model, scales.get("log-variance"), digits, run.prepared, run.objective, seed=0,
            importance_samples=2, analytic_kl=True,
        )  # fmt: skip
        noise[name] = figures
    # The same model under log-std: d doubles, so noise and curvature are four times as large
    # (the start's raw outputs differ in second order only).
    for field in ("gradient_noise", "curvature"):
        ratio = getattr(noise["log-std"], field) / getattr(noise["log-variance"], field)
        assert ratio == pytest.approx(4, rel=0.1)
