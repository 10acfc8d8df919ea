"""The end of an epoch, for a single run and for each member of a fleet.

A closed-form noise is set from the epoch's residuals, the held-out rows are evaluated, the best
weights are kept, and the totals are reset. All of it is pure and runs on the device: transferring
single values to the host took a fifth of each epoch when fitting digits.
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import Compiled, compiled
from logvar.data.preparation import Preparation
from logvar.evaluation.elbo import HeldOut, held_out_rows
from logvar.models.base import Model, Terms
from logvar.processes.placement import AXIS, SAME, Placement
from logvar.training.state import Totals, TrainState, partition


class EpochEnd(NamedTuple):
    """The inputs of `end_epoch` that are not in the state, for a single run."""

    static: Any
    """The part of the model that does not train."""
    preparation: Preparation
    held_out: HeldOut | None
    keeps_last: bool
    """Whether to keep the last weights, because nothing is held out to choose the best."""
    seed: Int[Array, ""]
    number: Int[Array, ""]
    """The epoch's number, counted from 1."""


class EpochSummary(NamedTuple):
    """The results of an epoch that the host receives."""

    totals: Totals
    validation: Terms | None
    """Means over the held-out rows."""


def with_fitted_noise(state: TrainState, static: Any, ends: Bool[Array, ""] | bool) -> TrainState:
    """Set a closed-form noise from the epoch's residuals, if the epoch ends."""
    if not eqx.combine(state.params, static).likelihood.has_statistic:
        return state
    mean = jax.tree.map(lambda total: total / state.totals.count, state.totals.terms.statistic)

    def fitted(params: PyTree) -> PyTree:
        model: Model = eqx.combine(params, static)
        likelihood = model.likelihood.fitted(mean)
        moved, _ = partition(eqx.tree_at(lambda model: model.likelihood, model, likelihood))
        return jax.tree.map(partial(jnp.where, ends), moved, params)

    average = None if state.average is None else fitted(state.average)
    return dataclasses.replace(state, params=fitted(state.params), average=average)


def with_best_kept(
    state: TrainState, elbo: Float[Array, ""], epoch: Int[Array, ""], ends: Bool[Array, ""] | bool
) -> TrainState:
    """Keep the current weights as the best, with held-out ELBO and epoch, where they are better.

    Args:
        state: with the weights to judge.
        elbo: their ELBO of the held-out rows; the higher is the better.
        epoch: the number of the epoch, counted from 1.
        ends: whether the epoch ends with this state; no other is judged.
    """
    better = ends & (elbo > state.best_elbo)
    return dataclasses.replace(
        state,
        best_params=jax.tree.map(partial(jnp.where, better), state.evaluated, state.best_params),
        best_elbo=jnp.where(better, elbo, state.best_elbo),
        best_epoch=jnp.where(better, epoch, state.best_epoch),
    )


def _end_epoch(
    end: EpochEnd,
    state: TrainState,
    added: Callable[[PyTree], PyTree] | None = None,
    ours: Bool[Array, "blocks"] | None = None,
) -> tuple[TrainState, EpochSummary]:
    totals, validation = state.totals, None
    state = with_fitted_noise(state, end.static, True)
    if end.held_out is not None:
        validation, _ = held_out_rows(
            state.evaluated, end.static, end.held_out, end.preparation, end.seed, added, ours
        )
        state = with_best_kept(state, validation.elbo, end.number, ends=True)
    elif end.keeps_last:
        state = dataclasses.replace(state, best_params=state.evaluated)
    return dataclasses.replace(state, totals=totals.emptied()), EpochSummary(totals, validation)


end_epoch = compiled(_end_epoch, donate=True)
"""Return the state at the start of the next epoch, and this epoch's results for the host."""


@functools.cache
def end_epoch_on(placement: Placement) -> Compiled:
    """Return `end_epoch` for several devices, each of which evaluates some of the held-out blocks.

    All others add 0 to a block's sums, so these are those of one device to the bit.
    """

    def of_device(end: EpochEnd, state: TrainState) -> tuple[TrainState, EpochSummary]:
        if end.held_out is None:
            return _end_epoch(end, state)
        blocks = jnp.arange(len(end.held_out.weight))
        ours = blocks % placement.parts == lax.axis_index(AXIS)
        return _end_epoch(end, state, functools.partial(lax.psum, axis_name=AXIS), ours)

    def end_epoch_together(end: EpochEnd, state: TrainState) -> tuple[TrainState, EpochSummary]:
        return placement.on_each_device(of_device, (end, state), SAME)

    return compiled(end_epoch_together, donate=True)
