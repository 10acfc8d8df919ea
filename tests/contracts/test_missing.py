"""Missing cells: the bound is on the observed ones, under every likelihood and every objective.

A linear model gives exact answers: with z ~ N(0, 1) and x = w·z + b + σ·ε, any cells of x are
Normal given any others.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar import likelihoods
from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.imputation import cell_log_likelihood, complete
from logvar.likelihoods import LIKELIHOODS
from logvar.models.batch import Batch
from logvar.objectives import OBJECTIVES
from logvar.randomness import noise
from tests.objectives.tiny import FEATURES, LinearEncoder, linear_model, moment

OBSERVED = np.array([True, False, True])
TEXTS = [*OBJECTIVES.names(), "elbo(analytic_kl=false, free_bits=0.1)", "iwae(gradient=dreg)"]
MISSING = Preparation(missing=True)


def with_holes(likelihood="normal(noise=fixed, sigma=0.7)"):
    """A linear model whose encoder reads x and the mask."""
    model = linear_model(1, likelihood=likelihood)
    rng = np.random.default_rng(5)
    encoder = LinearEncoder(
        jnp.asarray(0.1 * rng.normal(size=(2 * FEATURES, 2)), jnp.float32),
        jnp.asarray([0.1, 0.4], jnp.float32),  # σ = 1.5 is wider than any posterior here,
    )
    return eqx.tree_at(lambda m: m.encoder, dataclasses.replace(model, missing=True), encoder)


def test_missing_cells_become_a_placeholder_and_a_mask():
    row = jnp.asarray([1.0, np.nan, 3.0])
    x, observed = MISSING.parts(row, jax.random.key(0))
    assert x.tolist() == [1.0, 0.0, 3.0] and observed.tolist() == OBSERVED.tolist()
    assert Preparation().parts(jnp.ones(3), jax.random.key(0))[1] is None
    threshold = Preparation(binarization="threshold", missing=True)
    assert threshold.parts(row, jax.random.key(0))[0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS.names() if n != "mixed"])
def test_the_total_is_over_observed_cells_and_no_placeholder_matters(name):
    rows = np.array([[0, 1, 2], [1, 0, 1]], np.float32) % (2 if "bernoulli" in name else 3)
    likelihood = likelihoods.get(name).decided(rows).build((FEATURES,), 0.0)
    outputs = jnp.asarray(
        np.random.default_rng(0).normal(size=likelihood.output_shape((FEATURES,))), jnp.float32
    )
    observed = jnp.asarray(OBSERVED)
    x = jnp.where(observed, rows[0], 0)
    total = likelihood.total(x, outputs, observed)
    # A library's shares are over the observed cells.
    each = np.asarray(likelihood.given(x, observed).log_prob(x, outputs))
    np.testing.assert_allclose(total, each[OBSERVED].sum(), rtol=1e-5)
    other = x.at[1].set(1 - x[1])
    assert likelihood.total(other, outputs, observed) == total
    seen = likelihood.encoder_input(x, observed)
    assert (likelihood.encoder_input(other, observed) == seen).all()
    whole = likelihood.log_prob(x, outputs).sum()
    assert likelihood.total(x, outputs, jnp.ones(3, bool)) == pytest.approx(float(whole), 1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_under_every_objective_a_missing_cell_has_no_gradient_and_no_say(text):
    model = with_holes("normal(noise=optimal)" if "dreg" in text else "normal(noise=shared)")
    objective = logvar.objectives.get(text)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(4, FEATURES)), jnp.float32)
    observed = jnp.asarray(np.stack([OBSERVED, ~OBSERVED, [True] * 3, [False, True, True]]))
    eps = noise(model.noise_like(), jax.random.key(2), (4, objective.samples))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    at = moment(objective=objective, latent_dim=model.latent_dim)

    @jax.jit
    def found(x, params):
        def loss(x, params):
            batch = Batch(x, observed=observed, weight=jnp.ones(4))
            return objective(eqx.combine(params, static), batch, eps, at)[0]

        return jax.value_and_grad(loss, argnums=(0, 1))(x, params)

    value, (of_x, of_params) = found(x, params)
    assert np.isfinite(value) and (np.asarray(of_x)[~np.asarray(observed)] == 0).all()
    assert (np.asarray(of_x)[np.asarray(observed)] != 0).any()
    elsewhere, (_, others) = found(jnp.where(observed, x, 1e6), params)
    assert elsewhere == value
    assert all(map(np.array_equal, *map(jax.tree.leaves, (of_params, others))))


@pytest.fixture(scope="module")
def exact():
    """A model, rows with holes, and the Normal of all three cells."""
    model = with_holes()
    w, b = (np.asarray(a, float) for a in (model.decoder.kernel[0], model.decoder.bias))
    covariance = np.outer(w, w) + 0.7**2 * np.eye(FEATURES)
    rows = np.random.default_rng(3).normal(size=(5, FEATURES)).astype(np.float32)
    rows[0, 1] = rows[1, 0] = rows[1, 2] = rows[2, 2] = np.nan
    return model, Examples(rows, rows), b, covariance


def conditional(b, covariance, row, wanted):
    """Mean and covariance of some cells given the other observed ones."""
    given = ~np.isnan(row) & ~wanted
    gain = covariance[np.ix_(wanted, given)] @ np.linalg.inv(covariance[np.ix_(given, given)])
    mean = b[wanted] + gain @ (row[given] - b[given])
    return mean, covariance[np.ix_(wanted, wanted)] - gain @ covariance[np.ix_(given, wanted)]


def test_scores_are_of_the_observed_cells(exact):
    model, examples, b, covariance = exact
    found = importance_log_likelihood(model, examples, MISSING, 0, 4000)
    for row, value, error in zip(examples.values, *found, strict=True):
        seen = ~np.isnan(row)
        density = stats.multivariate_normal(b[seen], covariance[np.ix_(seen, seen)])
        assert abs(value - density.logpdf(row[seen])) < 5 * error + 1e-4
    terms = elbo_terms(model, examples, MISSING, 0, n_samples=2000)
    assert (terms.elbo < found.log_likelihood + 0.02).all()


def test_completed_cells_and_their_draws_are_those_of_the_exact_conditional(exact):
    model, examples, b, covariance = exact
    found = complete(model, examples, MISSING, 0, 2000, draws=100)
    assert ((found.effective_samples > 200) & (found.effective_samples <= 2000)).all()
    for row, mean, drawn in zip(examples.values[:3], found.mean, found.drawn, strict=False):
        missing = np.isnan(row)
        expected, spread = conditional(b, covariance, row.astype(float), missing)
        np.testing.assert_allclose(mean[missing], expected, atol=0.08)
        deviation = np.sqrt(np.diag(spread))
        off = drawn[:, missing].mean(0) - expected
        assert (np.abs(off) < 5 * deviation / np.sqrt(100)).all()
        np.testing.assert_allclose(drawn[:, missing].std(0), deviation, rtol=0.35)


def test_cells_are_scored_given_the_others(exact):
    model, examples, b, covariance = exact
    found = cell_log_likelihood(model, examples, MISSING, 0, 4000)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(examples.values))
    for row, scores in zip(examples.values.astype(float), found, strict=True):
        for j in np.flatnonzero(~np.isnan(row)):
            wanted = np.arange(FEATURES) == j
            mean, variance = conditional(b, covariance, row, wanted)
            exact_score = stats.norm(mean[0], np.sqrt(variance[0, 0])).logpdf(row[j])
            assert scores[j] == pytest.approx(exact_score, abs=0.1)


def test_noise_in_closed_form_counts_observed_cells():
    """σ² is Σ residual² / number of observed cells, over all rows together."""
    likelihood = likelihoods.get("normal(noise=optimal)").build((FEATURES,), 0.0)
    x = jnp.asarray([[1.0, 9.0, 2.0], [3.0, 9.0, 9.0]])
    observed = jnp.asarray([[True, False, True], [True, False, False]])
    each = jax.vmap(likelihood.statistic)(x, jnp.zeros((2, 3)), observed)
    fitted = likelihood.fitted(each.mean(0))
    assert float(fitted.sigma(jnp.zeros(3))[0]) == pytest.approx(np.sqrt((1 + 4 + 9) / 3), rel=1e-5)
