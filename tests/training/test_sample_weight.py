"""Sample weights: a weight of n is n copies of a row, and 0 is none."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly import TrainingData
from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.evaluation.elbo import HeldOut, held_out_rows
from logvar.evaluation.noise import fit_noise
from logvar.runs.resuming import data_of
from logvar.training.state import partition
from tests.objectives.tiny import FEATURES, batch_of, linear_model, moment, some_rows

OBJECTIVES = [
    "elbo",
    "elbo(beta=2, free_bits=0.3, samples=2)",
    "elbo(analytic_kl=false)",
    "iwae(samples=3)",
    "iwae(samples=3, gradient=stl)",
    "iwae(samples=3, gradient=dreg)",
]
SHARED = "normal(noise=shared, sigma=2)"


def loss_and_gradient(objective, model):
    """(batch, noise) ↦ (loss, terms, gradient), compiled."""
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def found(batch, noise):
        def loss(weights):
            return objective(eqx.combine(weights, rest), batch, noise, moment())

        (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
        return value, terms, gradient

    return jax.jit(found)


def some_noise(rows, objective):
    shape = rows, objective.samples, 2
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("text", "likelihood"),
    [(text, SHARED) for text in OBJECTIVES]
    + [(text, "normal(noise=optimal)") for text in (OBJECTIVES[1], OBJECTIVES[-1])],
)
def test_a_weight_counts_as_copies_of_the_row(text, likelihood):
    objective, model = logvar.objectives.get(text), linear_model(2, likelihood=likelihood)
    of = loss_and_gradient(objective, model)
    rows, times = some_rows(4), np.array([1, 3, 0, 2])
    noise = some_noise(4, objective)
    weighted, again = of(batch_of(rows, times), noise), np.repeat(np.arange(4), times)
    copied = of(batch_of(rows[again]), noise[again])
    for a, b in zip(*map(jax.tree.leaves, (weighted, copied)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    plain = of(batch_of(rows), noise)
    assert abs(weighted[0] - plain[0]) > 1e-2  # or weights would be ignored


def test_a_row_of_weight_0_is_left_out():
    """To the same bytes as a fit without it, whatever it holds, in batches and in the split."""
    rows = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    weight = np.array([1, 2, 0, 1, 0, 0, 0, 0, 1, 3, 1, 1], float)
    rows[2] = 3e38, -3e38
    settings = {
        "network": "mlp(hidden=[3])",
        "epochs": 2,
        "batch_size": 2,
        "validation_fraction": 0.3,
    }
    some, kept = logvar.VAE(1, **settings), weight > 0
    some.fit(rows, sample_weight=weight)
    without = logvar.VAE(1, **settings).fit(rows[kept], sample_weight=weight[kept])
    assert some.history_ == without.history_ and np.isfinite(some.history_[-1]["loss"])
    np.testing.assert_array_equal(some.transform(rows[kept]), without.transform(rows[kept]))


def held_out_terms(model, rows, weight):
    examples = dataclasses.replace(Examples(rows, rows), weight=weight)
    terms, _ = held_out_rows(*partition(model), HeldOut.of(examples), Preparation(), jnp.asarray(0))
    return terms


def test_rows_without_weight_do_not_matter_for_the_held_out_elbo():
    model = linear_model(2)
    rows = np.asarray(some_rows(6), np.float32)
    weight = np.array([2, 0, 1, 0, 1, 0], np.float32)
    found = held_out_terms(model, rows, weight)
    others = np.where(weight[:, None] > 0, rows, -rows)
    for a, b in zip(found, held_out_terms(model, others, weight), strict=True):
        assert (a is None and b is None) or np.array_equal(a, b)
    copies = rows[np.repeat(np.arange(6), weight.astype(int))]
    copied = held_out_terms(model, copies, None)
    np.testing.assert_allclose(found.elbo, copied.elbo, rtol=1e-5)
    unweighted = held_out_terms(model, rows, None)
    assert abs(float(found.elbo) - float(unweighted.elbo)) > 1e-2


def test_a_noise_in_closed_form_is_fitted_to_rows_by_their_weights():
    model = linear_model(2, likelihood="normal(noise=optimal)")
    rows, times = np.asarray(some_rows(5), np.float32), np.array([4, 0, 1, 0, 2])

    def raw(rows, weight=None):
        examples = dataclasses.replace(Examples(rows, rows), weight=weight)
        return float(fit_noise(model, examples, Preparation(), 0).likelihood.noise.raw)

    weighted = raw(rows, times.astype(np.float32))
    assert weighted == pytest.approx(raw(np.repeat(rows, times, axis=0)), rel=1e-5)
    assert abs(weighted - raw(rows)) > 1e-3


ROWS = np.random.default_rng(0).normal(size=(10, FEATURES)).astype(np.float32)


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (np.ones(9), "sample_weight.shape == .9,., expected .10,."),
        (np.ones((10, 1)), "sample_weight.shape == .10, 1., expected .10,."),
        (-np.ones(10), "negative or non-finite"),
        (np.full(10, np.nan), "negative or non-finite"),
        (np.full(10, np.inf), "negative or non-finite"),
        (np.zeros(10), "only zeros"),
        (np.full(10, 1e39), "negative or non-finite"),
        (np.eye(10)[3], "above 0 for 1 of 10 rows: expected at least 2"),
        (["a"] * 10, "sample_weight is not an array of numbers"),
        ([[1], [1, 2]], "sample_weight is not an array of numbers"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(weight, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        logvar.VAE(1, epochs=1).fit(ROWS, sample_weight=weight)
    assert "\n" not in str(caught.value)


def test_weights_of_either_part_identify_a_run():
    one, other = np.ones(10, np.float32), np.full(10, 2, np.float32)

    def of(weight=None, held_out_weight=None):
        return data_of(TrainingData(ROWS, ROWS, weight, held_out_weight))

    assert of(one) not in (of(), of(other))
    assert of(one, one) != of(one, other)
