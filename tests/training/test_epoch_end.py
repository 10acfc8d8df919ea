"""The end of an epoch: what is kept, what is emptied, what the host learns."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar import assembly
from logvar.backend.compiling import host_int
from logvar.data.sources import load
from logvar.evaluation.elbo import HeldOut, elbo_terms
from logvar.recipe import Recipe
from logvar.training.epoch_end import EpochEnd, end_epoch
from logvar.training.state import Totals, initial_state, partition

ROWS = load("digits").train[:60]
RUN = assembly.build_run(
    Recipe().replace(latent_dim=2, network="mlp(hidden=[8])"),
    assembly.TrainingData(ROWS[:40], ROWS[40:]),
)
MODEL = RUN.model
STATIC = partition(MODEL)[1]


def trained(**changes):
    """A state whose weights have moved on from the best ones, in an epoch with totals."""
    state = initial_state(MODEL, RUN.plan.optimizer, RUN.coordinates)
    best = jax.tree.map(lambda leaf: leaf + 1, state.params)
    totals = jax.tree.map(lambda total: total + 7, Totals.zero(MODEL))
    return dataclasses.replace(state, best_params=best, totals=totals, **changes)


def closed(state, held_out=None, keeps_last=False):
    numbers = host_int(RUN.plan.seed), host_int(5)
    return end_epoch(
        EpochEnd(STATIC, RUN.plan.fixed.preparation, held_out, keeps_last, *numbers), state
    )


def as_numpy(tree):
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("keeps_last", [False, True])
def test_where_nothing_is_held_out_the_last_weights_are_kept_for_a_rescue_alone(keeps_last):
    state = trained()
    params, best = as_numpy(state.params), as_numpy(state.best_params)
    state, seen = closed(state, keeps_last=keeps_last)
    assert seen.validation is None
    for leaf, expected in zip(
        jax.tree.leaves(state.best_params), params if keeps_last else best, strict=True
    ):
        np.testing.assert_array_equal(leaf, expected)
    assert int(state.best_epoch) == 0


@pytest.mark.parametrize(("before", "kept"), [(-1e9, True), (1e9, False)])
def test_the_weights_are_kept_where_their_held_out_elbo_is_the_best(before, kept):
    state = trained(best_elbo=jnp.float32(before))
    params, best = as_numpy(state.params), as_numpy(state.best_params)
    state, seen = closed(state, HeldOut.of(RUN.validation))
    expected = elbo_terms(MODEL, RUN.validation, RUN.plan.fixed.preparation, RUN.plan.seed).elbo
    elbo = float(seen.validation.elbo)
    np.testing.assert_allclose(elbo, expected.mean(), rtol=1e-5)
    assert (int(state.best_epoch), float(state.best_elbo)) == ((5, elbo) if kept else (0, before))
    for leaf, weights in zip(
        jax.tree.leaves(state.best_params), params if kept else best, strict=True
    ):
        np.testing.assert_array_equal(leaf, weights)


def test_a_noise_in_closed_form_is_that_of_the_mean_residual():
    """Of a Normal: σ² is the mean squared residual, here 7 · 8 over 8 examples."""
    settings = {
        "likelihood": "normal(noise=optimal)",
        "latent_dim": 2,
        "network": "mlp(hidden=[8])",
    }
    run = assembly.build_run(Recipe().replace(**settings), assembly.TrainingData(ROWS))
    static = partition(run.model)[1]
    state = initial_state(run.model, run.plan.optimizer, run.coordinates)
    totals = Totals.zero(run.model)
    terms = totals.terms._replace(statistic=jnp.float32(56))
    totals = dataclasses.replace(totals, terms=terms, count=jnp.float32(8))
    state = dataclasses.replace(state, totals=totals)
    end = EpochEnd(static, run.plan.fixed.preparation, None, False, host_int(0), host_int(1))
    noise = eqx.combine(end_epoch(end, state)[0].params, static).likelihood.noise
    np.testing.assert_allclose(noise.scale.sigma(noise.raw), 7**0.5, rtol=1e-5)


def test_the_totals_go_to_the_host_and_begin_anew():
    state, seen = closed(trained())
    assert all(np.all(total == 7) for total in jax.tree.leaves(seen.totals))
    assert all(np.all(total == 0) for total in jax.tree.leaves(state.totals))
