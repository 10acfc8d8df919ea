"""Is the experiment itself true? Known effects, an exact target, measurements against formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar import assembly, scales
from logvar.data.sources import load
from logvar.recipe import Recipe
from logvar.study.measuring import measure
from tests.cases import slow
from tests.study.exact_target import (
    ABOVE,
    EXPECTED_KL,
    NOISE,
    fitted,
    linear_gaussian,
    log_likelihood,
    reached,
)


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


# `python -m tests.study.exact_target` has every scale.
@pytest.mark.parametrize("name", [slow("log-variance"), "log-std", slow("softplus")])
def test_a_scale_reaches_the_exact_optimum_of_linear_gaussian_data(name):
    np.testing.assert_allclose(linear_gaussian().std(0), 1, atol=1e-6)
    kl, variance, elbo = reached(fitted(name))
    np.testing.assert_allclose(kl, EXPECTED_KL, atol=0.08)
    np.testing.assert_allclose(variance, NOISE / ABOVE, rtol=0.25)
    assert elbo == pytest.approx(log_likelihood(), abs=0.03)


def test_measurements_agree_with_the_formulas_on_a_linear_model():
    """At the optimum of a linear model the curvature in r is 2d², and the gradient's noise at least
    the part of it that the residuals of single rows do not add to."""
    X, vae = linear_gaussian(), fitted("log-std")
    run = assembly.build_run(vae.recipe_, assembly.TrainingData(X, X[:10]))
    figures, elbos = measure(
        vae.model_, scales.get("log-variance"), X, vae.fitted_.preparation, run.objective, seed=0,
        importance_samples=5, analytic_kl=True,
    )  # fmt: skip
    assert figures.curvature == pytest.approx(figures.curvature_predicted, rel=0.1)
    assert figures.curvature_predicted == pytest.approx(2.0)
    assert figures.gradient_noise > 0.8 * figures.gradient_noise_predicted
    assert figures.test_elbo == pytest.approx(float(elbos.mean()))
    assert 0 < figures.gradient_share < 1
    assert figures.active_units == 2


def test_gradient_noise_against_the_exact_variance():
    """For a fixed quadratic log-likelihood −h(z − a)²/2 the variance is known in closed form."""
    digits = load("digits").test[:40]
    recipe = Recipe().replace(latent_dim=2, network="mlp(hidden=[8])")
    noise = {}
    for name in ("log-variance", "log-std"):
        data = assembly.TrainingData(digits[:30], digits[30:])
        run = assembly.build_run(recipe.replace(scale=name, initial_sigma=1.0), data)
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
