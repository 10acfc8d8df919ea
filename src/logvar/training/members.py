"""What a fleet computes: the steps of its members and the end of an epoch, compiled.

A step of a model is the step of a single run. On a CPU larger models go through an epoch in turn,
which keeps one model in the caches; the smallest spend most of a step on overhead that is paid once
if all members take it at once, as they do on an accelerator.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.evaluation.elbo import HeldOut, held_out_rows
from logvar.model import Model
from logvar.native.library import on_one_core
from logvar.networks.compiling import compiled
from logvar.objectives import Objective
from logvar.training.loop import Plan
from logvar.training.optimizers import direction
from logvar.training.state import Totals, TrainState, initial_state, partition
from logvar.training.step import (
    Chunk,
    Epoch,
    Fixed,
    Hyper,
    Keys,
    Task,
    batch_at,
    step,
    take_steps,
)

_ROWS_FOR_QUANTILES = 1024
_WORTH_A_TURN = 2**21
"""Weights times rows of a batch from which members take their steps in turn. On two cores, 16
models of digits, a turn costs 7 µs a step: widths of 16 to 32 take 1.06 to 1.11 of the time so, 128
0.99, 256 and 128 0.84, a convolutional network 0.71."""


@dataclasses.dataclass(frozen=True)
class Member:
    """What is a member's own."""

    model: Model
    coordinates: PyTree
    seed: int
    learning_rate: float


class Fleet(NamedTuple):
    """What stays the same from step to step; `hyper` and `coordinates` have an axis of members."""

    static: Any
    objective: Objective
    fixed: Fixed
    hyper: Hyper
    coordinates: PyTree
    side_by_side: bool
    """Whether other shares train at the same time."""
    in_turn: bool
    """Whether each member goes through an epoch before the next does."""


def assembled(
    members: Sequence[Member],
    objective: Objective,
    plan: Plan,
    latent_dim: int,
    side_by_side: bool,
) -> tuple[Fleet, TrainState]:
    """The members' states and numbers, stacked."""
    parts = [partition(member.model) for member in members]
    params, static = parts[0]
    optimizer = direction(plan.fixed.optimizer, plan.fixed.weight_decay)
    models = _stacked([params for params, _ in parts])
    coordinates = _stacked([member.coordinates for member in members])
    states = _started(models, static, optimizer, latent_dim, coordinates)
    hyper = Hyper(
        jnp.asarray([m.learning_rate for m in members], jnp.float32),
        jnp.full(len(members), plan.clip_norm, jnp.float32),
        jnp.asarray([m.seed for m in members], jnp.int32),
    )
    in_turn = _worth_a_turn(params, plan.fixed.batch_size)
    return Fleet(static, objective, plan.fixed, hyper, coordinates, side_by_side, in_turn), states


def _worth_a_turn(params: PyTree, batch_size: int) -> bool:
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    return jax.default_backend() == "cpu" and weights * batch_size >= _WORTH_A_TURN


@eqx.filter_jit
def _started(
    models: PyTree, static: Any, optimizer: Any, latent_dim: int, coordinates: PyTree
) -> Any:
    """The states of all members before the first step."""

    def member(params: PyTree, coordinates: PyTree) -> TrainState:
        return initial_state(eqx.combine(params, static), optimizer, latent_dim, coordinates)

    return jax.vmap(member)(models, coordinates)


def _stacked(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


class Bounds(NamedTuple):
    """Steps [start, stop) of an epoch of a fleet."""

    fleet: Fleet
    epoch: Epoch
    active: Bool[Array, "members"]
    """Which of them still train. Those that take their steps in turn leave the others out."""
    start: Int[Array, ""]
    stop: Int[Array, ""]


def take_all_steps(bounds: Bounds, states: TrainState) -> TrainState:
    """Steps [start, stop) of an epoch for all members, in one program."""
    with on_one_core(bounds.fleet.side_by_side):
        return (_steps_in_turn if bounds.fleet.in_turn else _steps_at_once)(bounds, states)


def _steps_in_turn(bounds: Bounds, states: TrainState) -> TrainState:
    """One member after another, each in the place that its state has among the others'."""
    fleet, epoch, active, start, stop = bounds
    of_members = epoch.order, fleet.hyper, fleet.coordinates, jnp.where(active, stop, start)
    best = attrgetter("best_params")  # no step looks at them
    of_all, states = best(states), eqx.tree_at(best, states, None)

    def taken(i: Array, states: TrainState) -> TrainState:
        at_i = partial(lax.dynamic_index_in_dim, index=i, keepdims=False)
        state, order, hyper, coordinates, end = jax.tree.map(at_i, (states, *of_members))
        task = Task(fleet.static, fleet.objective, coordinates, hyper, fleet.fixed)
        state = take_steps(Chunk(task, epoch._replace(order=order), start, end), state)
        put = partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
        return jax.tree.map(put, states, state)

    states = lax.fori_loop(0, len(active), taken, states)
    return eqx.tree_at(best, states, of_all, is_leaf=lambda node: node is None)


def _steps_at_once(bounds: Bounds, states: TrainState) -> TrainState:
    fleet, epoch, _, start, stop = bounds
    keys = jax.vmap(Keys.of_epoch, in_axes=(0, None))(fleet.hyper.seed, epoch.number)

    def member(
        state: TrainState, order: Array, hyper: Hyper, coordinates: PyTree, keys: Keys, t: Array
    ) -> TrainState:
        batch, weight = batch_at(epoch, order, t, fleet.fixed.batch_size)
        task = Task(fleet.static, fleet.objective, coordinates, hyper, fleet.fixed)
        return step(state, batch, weight, keys.at(t), task)

    def unfinished(carry: tuple[Array, TrainState]) -> Array:
        return (carry[0] < stop) & jnp.any(carry[1].failed_step < 0)

    def body(carry: tuple[Array, TrainState]) -> tuple[Array, TrainState]:
        t, states = carry
        all_members = jax.vmap(member, in_axes=(0, 0, 0, 0, 0, None))
        return t + 1, all_members(states, epoch.order, fleet.hyper, fleet.coordinates, keys, t)

    return lax.while_loop(unfinished, body, (start, states))[1]


run_all = compiled(take_all_steps, donate="all-except-first")


class Seen(NamedTuple):
    """What the host learns of an epoch, for each member."""

    elbo: Float[Array, "members"]
    raw: Float[Array, "members rows latent"]
    """Raw scale outputs of the first held-out rows, padding included."""
    best_epoch: Int[Array, "members"]
    failed_step: Int[Array, "members"]


class Closing(NamedTuple):
    """What the end of an epoch needs beside the states."""

    fleet: Fleet
    held_out: HeldOut
    active: Bool[Array, "members"]
    """Which of them still train."""
    epoch: Array


def closed(closing: Closing, states: TrainState) -> tuple[TrainState, Seen]:
    """Evaluate the held-out rows, keep the best weights of those that still train, empty totals.

    The states are donated: a copy of all weights and moments would take as long as a step.
    """
    fleet, held_out, active, epoch = closing

    def member(state: TrainState, seed: Array, active: Array) -> tuple[TrainState, Any]:
        preparation = fleet.fixed.preparation
        means, raw = held_out_rows(state.params, fleet.static, held_out, preparation, seed)
        elbo = means.elbo
        some = raw.reshape(-1, raw.shape[-1])[:_ROWS_FOR_QUANTILES]
        better = active & (state.failed_step < 0) & (elbo > state.best_elbo)
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), state.params, state.best_params
        )
        state = dataclasses.replace(
            state,
            best_params=best,
            best_elbo=jnp.where(better, elbo, state.best_elbo),
            best_epoch=jnp.where(better, epoch.astype(jnp.int32), state.best_epoch),
            totals=Totals.zero(state.totals.terms.kl.shape[-1]),
        )
        return state, Seen(elbo, some, state.best_epoch, state.failed_step)

    with on_one_core(fleet.side_by_side):
        return jax.vmap(member)(states, fleet.hyper.seed, active)


close = compiled(closed, donate="all-except-first")
