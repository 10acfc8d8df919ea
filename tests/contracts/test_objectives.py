"""Every registered objective walks into this suite by itself; so do some settings of ours."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.backend.compiling import compiled
from logvar.models.batch import Batch
from logvar.objectives import OBJECTIVES, draws
from logvar.objectives.base import averaged, with_inputs
from logvar.randomness import noise
from logvar.trainable import trainable
from tests.cases import slow
from tests.objectives.tiny import FEATURES, linear_model, moment

NAMES = OBJECTIVES.names()
TEXTS = [
    *NAMES,
    "elbo(beta=4, warmup=20, free_bits=0.2, samples=2)",
    "elbo(analytic_kl=false)",
    "iwae(gradient=stl)",
    "iwae(gradient=dreg)",
    "elbo(capacity=2, warmup=3, cycles=2)",
    "beta-tc(alpha=0.5, gamma=2, samples=2)",
    "dip(kind=i)",
    "mmd(kernel=rbf, samples=2)",
]
ROWS = np.random.default_rng(0).normal(size=(6, FEATURES)).astype(np.float32)


def mixture(latent_dim):
    return logvar.priors.get("mixture(components=2)").build(latent_dim, jax.random.key(1))


QUICK = ("elbo", "iwae(gradient=dreg)", "piwae", "beta-tc", "mmd")
CASES = pytest.mark.parametrize(
    ("prior", "text"),
    [("standard", text) for text in TEXTS]
    + [("mixture", text) if text in QUICK else slow("mixture", text) for text in TEXTS],
)


@functools.cache
def model_with(prior):
    prior = mixture(2) if prior == "mixture" else None
    return linear_model(2, prior=prior, likelihood="normal(noise=shared)")


def at(objective):
    return moment(step=3, objective=objective)


def some_noise(model, objective):
    return noise(model.noise_like(), jax.random.key(2), (len(ROWS), objective.samples))


@functools.cache
def value_and_gradient(text, prior):
    """One program for all tests of an objective."""
    objective, model = logvar.objectives.get(text), model_with(prior)
    params, static = eqx.partition(model, trainable(model))

    def found(batch, eps):
        def loss(params):
            return objective(eqx.combine(params, static), batch, eps, at(objective))

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

    return jax.jit(found)


@functools.cache
def plain_terms(prior, analytic_kl):
    """The terms of a plain ELBO at β = 1, of a batch and its noise."""

    def found(batch, eps):
        return averaged(draws(model_with(prior), batch, eps).terms(analytic_kl), batch.weight)

    return jax.jit(found)


@CASES
def test_loss_gradient_and_terms(prior, text):
    """Finite and of the right form; every part learns; rows without weight change nothing; terms
    are those of a plain ELBO at β = 1."""
    objective, model = logvar.objectives.get(text), model_with(prior)
    assert objective.samples >= 1
    of = value_and_gradient(text, prior)
    weight = jnp.asarray([1, 1, 0, 2, 0.5, 0], jnp.float32)
    eps = some_noise(model, objective)
    (loss, terms), gradient = of(Batch(jnp.asarray(ROWS), weight=weight), eps)
    assert loss.shape == terms.log_likelihood.shape == () and np.isfinite(loss)
    assert terms.kl.shape == (model.groups,)
    for part in ("encoder", "decoder", "likelihood", "prior"):
        leaves = jax.tree.leaves(getattr(gradient, part))
        assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in leaves), part

    others = np.where(np.asarray(weight)[:, None] > 0, ROWS, 2 - ROWS)
    changed = of(Batch(jnp.asarray(others), weight=weight), eps)
    for a, b in zip(*map(jax.tree.leaves, (((loss, terms), gradient), changed)), strict=True):
        np.testing.assert_array_equal(a, b)

    batch = Batch(jnp.asarray(ROWS), weight=weight)
    plain = plain_terms(prior, objective.analytic_kl)(batch, eps)
    np.testing.assert_allclose(terms.log_likelihood, plain.log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(terms.kl), jnp.sum(plain.kl), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_the_gradient_is_that_of_a_finite_difference_in_the_decoder(text):
    """The decoder's, which every estimator has unchanged."""
    objective, model = logvar.objectives.get(text), model_with("standard")
    of, eps = value_and_gradient(text, "standard"), some_noise(model, objective)
    batch = Batch(jnp.asarray(ROWS), weight=jnp.ones(len(ROWS)))
    _, gradient = of(batch, eps)
    step = 1e-2
    losses = []
    value = jax.jit(lambda moved: objective(moved, batch, eps, at(objective))[0])
    for sign in (1, -1):
        moved = eqx.tree_at(lambda m: m.decoder.bias, model, model.decoder.bias + sign * step)
        losses.append(float(value(moved)))
    expected = float(jnp.sum(gradient.decoder.bias))
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=2e-2, abs=2e-2)


def numbers(text):
    """Its settings that are numbers, with another value each."""
    objective = logvar.objectives.get(text)
    for field in dataclasses.fields(objective):
        value = getattr(objective, field.name)
        if isinstance(value, float):
            yield field.name, value + 0.25


@pytest.mark.parametrize(
    ("text", "field", "other"),
    [slow(t, *n) if i else (t, *n) for t in NAMES for i, n in enumerate(numbers(t))],
)
def test_its_numbers_are_inputs_of_the_program(text, field, other):
    traced = []
    model = linear_model(2, likelihood="normal(noise=shared)")

    @compiled
    def loss(objective, batch, eps):
        traced.append(objective)
        return objective(model, batch, eps, at(objective))[0]

    objective = logvar.objectives.get(text)
    batch, eps = Batch(jnp.asarray(ROWS)), some_noise(model, objective)
    loss(with_inputs(objective), batch, eps)
    changed = logvar.objectives.get(text, **{field: other})
    got = loss(with_inputs(changed), batch, eps)
    assert len(traced) == 1
    expected = jax.jit(lambda: changed(model, batch, eps, at(changed))[0])()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_text_builds_the_same_objective_again(text):
    objective = logvar.objectives.get(text)
    assert logvar.objectives.get(logvar.objectives.describe(objective)) == objective
