"""Estimators of the importance-weighted bound's gradient: bias, variance, and what they share.

For one latent the expectation over k = 1 or 2 draws is an integral, taken by Gauss–Hermite
quadrature, so that a bias shows without noise. For k = 5 it is a z-test over paired draws.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.objectives.importance import GRADIENTS
from logvar.priors.vamp import VampPrior
from tests.cases import slow
from tests.objectives.tiny import (
    PARTS,
    at_its_optimum,
    batch_of,
    gradients,
    iwae,
    linear_model,
    perturbed,
    some_rows,
    with_terms,
)

pytestmark = pytest.mark.usefixtures("float64")


def pseudo_inputs():
    return VampPrior(jnp.asarray([[0.5, -1.0, 0.3], [-0.8, 0.2, 1.1]]), intensities=False)


def mixture_prior(latent_dim):
    return logvar.priors.get("mixture(components=3)").build(latent_dim, jax.random.key(4))


PRIORS = {"standard": lambda: None, "pseudo-inputs": pseudo_inputs}


def expected_by_quadrature(objective, model):
    """(loss, gradient by part), in expectation over the draws of one example and one latent."""
    nodes, weights = np.polynomial.hermite_e.hermegauss({1: 80, 2: 60}[objective.samples])
    weights = weights / weights.sum()
    k = objective.samples
    noise = np.array(list(itertools.product(nodes, repeat=k))).reshape(-1, 1, k, 1)
    weight = np.prod(np.array(list(itertools.product(weights, repeat=k))), axis=1)
    value, gradient = gradients(objective, model, batch_of(some_rows()))(jnp.asarray(noise))
    return weight @ value, {part: weight @ np.asarray(gradient[part]) for part in PARTS}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("k", [1, 2])
def test_dreg_is_unbiased(k, prior):
    model = linear_model(prior=PRIORS[prior]())
    loss, expected = expected_by_quadrature(iwae(k), model)
    same, got = expected_by_quadrature(iwae(k, "dreg"), model)
    np.testing.assert_allclose(same, loss, rtol=1e-12)
    for part in PARTS:
        np.testing.assert_allclose(got[part], expected[part], rtol=1e-6, atol=1e-8)
    assert np.abs(expected["encoder"]).max() > 0.1
    if prior == "pseudo-inputs":
        assert np.abs(expected["prior"]).max() > 0.01


def test_sticking_the_landing_is_unbiased_for_one_draw_and_biased_for_more():
    """Tucker et al. 2018, section 4: its path through z should weigh w̃², not w̃."""
    model = linear_model()
    for k, biased in ((1, False), (2, True)):
        _, expected = expected_by_quadrature(iwae(k), model)
        _, got = expected_by_quadrature(iwae(k, "stl"), model)
        bias = np.abs(got["encoder"] - expected["encoder"]).max()
        assert bias > 0.05 if biased else bias < 1e-8, (k, bias)
        np.testing.assert_allclose(got["decoder"], expected["decoder"], rtol=1e-8)


def some_noise(draws, samples, latent_dim, batch=1, seed=11):
    shape = (draws, batch, samples, latent_dim)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def encoder_gradients(samples, model, noise, batch):
    """(draws, weights) of the encoder, by estimator."""
    return {
        name: np.asarray(gradients(iwae(samples, name), model, batch)(noise)[1]["encoder"])
        for name in GRADIENTS
    }


def worst_z(one, other):
    """The largest |z| of the paired difference of two means."""
    difference = one - other
    error = difference.std(0) / np.sqrt(len(difference))
    return np.max(np.abs(difference.mean(0)) / error)


def test_dreg_is_unbiased_for_five_draws_of_two_latents():
    """Weighted examples, a learned prior; the bias of STL shows in the same draws."""
    model = linear_model(latent_dim=2, prior=mixture_prior(2))
    batch = batch_of(some_rows(2), [1.0, 3.0])
    noise = some_noise(40_000, 5, 2, batch=2)
    found = encoder_gradients(5, model, noise, batch)
    assert worst_z(found["dreg"], found["total"]) < 4.5
    assert worst_z(found["stl"], found["total"]) > 20


def test_dreg_varies_less_than_the_total_gradient():
    """Near the optimum, summed over the encoder's weights."""
    model = perturbed(at_its_optimum(linear_model()), by=0.1)
    for k in (1, 5):
        found = encoder_gradients(k, model, some_noise(5_000, k, 1), batch_of(some_rows()))
        variance = {name: of_draws.var(0).sum() for name, of_draws in found.items()}
        assert variance["dreg"] < 0.5 * variance["total"], (k, variance)


@pytest.mark.parametrize("k", [1, 5])
def test_at_the_exact_posterior_path_derivatives_do_not_vary(k):
    """Roeder et al. 2017: every draw has w = p(x), and the encoder's gradient is 0 in each."""
    model = at_its_optimum(linear_model())
    rows = some_rows(2)
    noise = some_noise(200, k, 1, batch=2)
    found = encoder_gradients(k, model, noise, batch_of(rows))
    for name in ("stl", "dreg"):
        np.testing.assert_allclose(found[name], 0, atol=1e-10)
    assert found["total"].std(0).max() > 0.1
    # The bound is log p(x) itself, in each draw.
    loss = np.asarray(gradients(iwae(k), model, batch_of(rows))(noise)[0])
    np.testing.assert_allclose(-loss, marginal(model, rows).mean(), rtol=1e-10)


def marginal(model, rows):
    """log p(x) of a linear model with one latent, by SciPy."""
    w = np.asarray(model.decoder.kernel)
    variance = float(model.likelihood.noise.scale.variance(model.likelihood.noise.raw))
    covariance = w.T @ w + variance * np.eye(w.shape[1])
    return stats.multivariate_normal(np.asarray(model.decoder.bias), covariance).logpdf(rows)


def test_the_bound_rises_with_the_number_of_draws_to_the_marginal():
    model = linear_model()
    noise = some_noise(100_000, 5, 1)
    bounds = []
    for k in (1, 2, 5):
        loss = -np.asarray(gradients(iwae(k), model, batch_of(some_rows()))(noise[:, :, :k])[0])
        bounds.append((loss.mean(), loss.std() / np.sqrt(len(loss))))
    exact = float(marginal(model, some_rows()))
    for (low, low_error), (high, high_error) in itertools.pairwise([*bounds, (exact, 0.0)]):
        assert low + 5 * np.hypot(low_error, high_error) < high


@pytest.mark.parametrize("k", [slow(1), 4])
def test_the_estimators_share_loss_terms_and_all_gradients_but_the_encoders(k):
    model = linear_model(latent_dim=2, prior=mixture_prior(2))
    batch = batch_of(some_rows(3), [1.0, 0.5, 2.0])
    noise = some_noise(5, k, 2, batch=3)
    found = {g: with_terms(iwae(k, g), model, batch)(noise) for g in GRADIENTS}
    loss, expected, terms = found["total"]
    for name in ("stl", "dreg"):
        np.testing.assert_allclose(found[name][0], loss, rtol=1e-12)
        for part in ("decoder", "prior", "likelihood"):
            got = found[name][1][part]
            np.testing.assert_allclose(got, expected[part], rtol=1e-9, atol=1e-12)
            assert np.abs(expected[part]).max() > 1e-3
        for got, of_total in zip(*map(jax.tree.leaves, (found[name][2], terms)), strict=True):
            np.testing.assert_allclose(got, of_total, rtol=1e-10)


def test_the_encoder_inside_the_prior_keeps_its_weight_under_dreg():
    """Σ w̃²·∂log w/∂z·∂z/∂φ + Σ w̃·∂log p(z; φ)/∂φ at a fixed z, written down by hand."""
    k, prior = 3, pseudo_inputs()
    model, row = linear_model(prior=prior), some_rows()[0]
    eps = some_noise(1, k, 1)[0, 0, :, 0]
    sigma_x = float(model.likelihood.noise.scale.sigma(model.likelihood.noise.raw))
    decoder = model.decoder

    def q_of(phi, x):
        mean, raw = x @ phi[:-1] + phi[-1]
        return mean, jnp.exp(raw)

    def log_normal(z, mean, sigma):
        return -0.5 * ((z - mean) / sigma) ** 2 - jnp.log(sigma) - 0.5 * np.log(2 * np.pi)

    def log_p(z, phi):
        each = [log_normal(z, *q_of(phi, u)) for u in prior.raw]
        return jax.nn.logsumexp(jnp.stack(each)) - np.log(len(prior.raw))

    def log_weight(z, phi, held):
        location = z * decoder.kernel[0] + decoder.bias
        of_x = jnp.sum(log_normal(row, location, sigma_x))
        return of_x + log_p(z, phi) - log_normal(z, *q_of(held, row))

    def draw(phi, e):
        mean, sigma = q_of(phi, row)
        return mean + sigma * e

    phi = jnp.concatenate([model.encoder.kernel, model.encoder.bias[None]])

    @jax.jit
    def by_hand(phi):
        z = jax.vmap(draw, (None, 0))(phi, eps)
        share = jax.nn.softmax(jax.jit(jax.vmap(log_weight, (0, None, None)))(z, phi, phi))
        total, through_prior = jnp.zeros_like(phi), []
        for e, z_j, w in zip(eps, z, share, strict=True):
            through_z = jax.jit(jax.grad(log_weight))(z_j, phi, phi) * jax.jacobian(draw)(phi, e)
            through_prior.append(jax.jit(jax.grad(log_p, argnums=1))(z_j, phi))
            total -= w**2 * through_z + w * through_prior[-1]
        return total, jnp.stack(through_prior)

    expected, through_prior = by_hand(phi)
    assert np.abs(through_prior).max() > 1e-3
    _, got = gradients(iwae(k, "dreg"), model, batch_of(row[None]))(eps[None, None, :, None])
    np.testing.assert_allclose(got["encoder"][0], expected.reshape(-1), rtol=1e-9, atol=1e-12)
