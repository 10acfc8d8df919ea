"""The compiled programs of a fleet: the members' steps and the end of an epoch.

A member's step is the step of a single run. On a CPU, larger models take turns, an epoch each,
which keeps one model in the caches. The smallest models spend most of a step on overhead, which is
paid only once if all members step together, as they do on an accelerator.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import compiled, from_host, host_float, host_int
from logvar.backend.ops import on_one_core, one_core_differs
from logvar.evaluation.elbo import HeldOut, held_out_rows
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.training.epoch_end import with_best_kept, with_fitted_noise
from logvar.training.extras import Extras, initial_extras
from logvar.training.loop import Plan
from logvar.training.optimizers import Rule
from logvar.training.schedules import Length
from logvar.training.state import TrainState, initial_state, partition
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
"""Weights times rows of a batch from which members take turns. Measured on two cores with 16 models
of digits, where a turn costs 7 µs per step; time relative to stepping together: widths of 16 to 64,
1.06 to 1.15; width 128, 1.0; widths of 256 and 128, 0.83; a convolutional network, 0.71."""


@dataclasses.dataclass(frozen=True)
class Member:
    """The model, coordinates, seed and learning rate of one member."""

    model: VAEModel
    coordinates: PyTree
    seed: int
    learning_rate: float
    """Replaces the rate of the schedule."""


class Fleet(NamedTuple):
    """The constants of a fleet's steps; `hyper` and `coordinates` have an axis of members."""

    static: Any
    objective: Objective
    optimizer: Rule
    fixed: Fixed
    hyper: Hyper
    coordinates: PyTree
    side_by_side: bool
    """Whether other shares train at the same time."""
    in_turn: bool
    """Whether each member runs a whole epoch before the next member does."""


def assembled(
    members: Sequence[Member],
    objective: Objective,
    plan: Plan,
    length: Length,
    side_by_side: bool,
) -> tuple[Fleet, TrainState]:
    """Stack the members' states and numbers."""
    parts = [partition(member.model) for member in members]
    params, static = parts[0]
    optimizer = plan.optimizer
    of_members = zip(parts, members, strict=True)
    each = [(params, member.coordinates) for (params, _), member in of_members]
    extras = [initial_extras(objective, member.model.latent_dim, member.seed) for member in members]
    coordinates, states = _started(static, optimizer, each, extras, plan.averages)
    rates = [plan.schedule.rates(member.learning_rate, length) for member in members]
    hyper = Hyper(
        jax.tree.map(lambda *numbers: from_host(np.stack(numbers)), *rates),
        host_float([plan.clip_norm] * len(members)),
        host_int([member.seed for member in members]),
        host_float([plan.average_weights] * len(members)) if plan.averages else None,
    )
    in_turn = _worth_a_turn(params, plan.fixed.batch_size)
    apart = side_by_side and one_core_differs()
    fleet = Fleet(static, objective, optimizer, plan.fixed, hyper, coordinates, apart, in_turn)
    return fleet, states


def _worth_a_turn(params: PyTree, batch_size: int) -> bool:
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    return jax.default_backend() == "cpu" and weights * batch_size >= _WORTH_A_TURN


@compiled  # as one program: 8 models of digits take 3.7 ms; weight by weight they take 5.7
def _started(
    static: Any,
    optimizer: Rule,
    each: Sequence[tuple[PyTree, PyTree]],
    extras: Sequence[Extras | None],
    averages: bool,
) -> tuple[PyTree, TrainState]:
    """Return the members' coordinates and their states before the first step."""
    models, coordinates = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    of_objective = jax.tree.map(lambda *leaves: jnp.stack(leaves), *extras)

    def member(params: PyTree, coordinates: PyTree, extras: Extras | None) -> TrainState:
        model = eqx.combine(params, static)
        return initial_state(model, optimizer, coordinates, extras, averages)

    all_members = jax.vmap(member, axis_size=len(each))
    return coordinates, all_members(models, coordinates, of_objective)


class FleetChunk(NamedTuple):
    """Steps [start, stop) of an epoch of a fleet; after its last step the epoch is closed."""

    fleet: Fleet
    epoch: Epoch
    held_out: HeldOut
    active: Bool[Array, "members"]
    """Which members still train. If members take turns, the others are skipped."""
    start: Int[Array, ""]
    stop: Int[Array, ""]

    @property
    def ends(self) -> Bool[Array, ""]:
        """Whether the epoch ends with this chunk."""
        return self.stop * self.fleet.fixed.batch_size >= self.epoch.n

    def ends_for(self, state: TrainState, trains: Array) -> Bool[Array, "*members"]:
        """Return which members end an epoch: those that train and have not failed."""
        return self.ends & trains & (state.failed_step < 0)


class Seen(NamedTuple):
    """The results of a chunk that the host receives, per member."""

    elbo: Float[Array, "members"]
    """ELBO of the held-out rows; −∞ if the epoch has not ended."""
    raw: Float[Array, "members rows latent"]
    """Raw scale outputs of the first held-out rows, padding included; −∞ likewise."""
    best_epoch: Int[Array, "members"]
    failed_step: Int[Array, "members"]


def take_all_steps(chunk: FleetChunk, states: TrainState) -> tuple[TrainState, Seen]:
    """Take all members' steps of a chunk and, at the end of the epoch, evaluate the held-out rows,
    keep the best weights of the members that still train, and reset the totals.

    One program does both, so a member that takes its turn is evaluated while its weights are still
    in the caches.
    """
    with on_one_core(chunk.fleet.side_by_side):
        return (_in_turn if chunk.fleet.in_turn else _at_once)(chunk, states)


run_all = compiled(take_all_steps, donate=True)


def _in_turn(chunk: FleetChunk, states: TrainState) -> tuple[TrainState, Seen]:
    """Run one member after another; states keep their positions."""
    fleet, epoch, _, active, start, stop = chunk
    of_members = epoch.order, fleet.hyper, fleet.coordinates, active

    def turn(states: TrainState, i: Array) -> tuple[TrainState, Seen]:
        at_i = partial(lax.dynamic_index_in_dim, index=i, keepdims=False)
        state, order, hyper, coordinates, trains = jax.tree.map(at_i, (states, *of_members))
        task = _task(fleet, coordinates, hyper)
        last = jnp.where(trains, stop, start)
        state = take_steps(Chunk(task, epoch._replace(order=order), start, last), state)
        ends = chunk.ends_for(state, trains)
        state = with_fitted_noise(state, fleet.static, ends)
        means = _evaluated_if(ends, partial(_evaluated, chunk, state.evaluated, hyper.seed))
        state, seen = _after(chunk, state, means, ends)
        put = partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
        return jax.tree.map(put, states, state), seen

    return lax.scan(turn, states, jnp.arange(len(active)))


def _task(fleet: Fleet, coordinates: PyTree, hyper: Hyper) -> Task:
    """Return the constants of one member's steps."""
    return Task(fleet.static, fleet.objective, fleet.optimizer, coordinates, hyper, fleet.fixed)


def _at_once(chunk: FleetChunk, states: TrainState) -> tuple[TrainState, Seen]:
    fleet, epoch, _, active, start, stop = chunk
    keys = jax.vmap(Keys.of_epoch, in_axes=(0, None))(fleet.hyper.seed, epoch.number)

    def member(
        state: TrainState, order: Array, hyper: Hyper, coordinates: PyTree, keys: Keys, t: Array
    ) -> TrainState:
        batch = batch_at(epoch, order, t, fleet.fixed.batch_size)
        task = _task(fleet, coordinates, hyper)
        return step(state, batch, keys.at(t), task, epoch)

    def unfinished(carry: tuple[Array, TrainState]) -> Array:
        return (carry[0] < stop) & jnp.any(carry[1].failed_step < 0)

    def body(carry: tuple[Array, TrainState]) -> tuple[Array, TrainState]:
        t, states = carry
        all_members = jax.vmap(member, in_axes=(0, 0, 0, 0, 0, None))
        assert epoch.order is not None  # each member has its own
        return t + 1, all_members(states, epoch.order, fleet.hyper, fleet.coordinates, keys, t)

    states = lax.while_loop(unfinished, body, (start, states))[1]
    ends = chunk.ends_for(states, active)
    states = jax.vmap(partial(with_fitted_noise, static=fleet.static))(states, ends=ends)
    evaluated = jax.vmap(partial(_evaluated, chunk))
    means = _evaluated_if(chunk.ends, lambda: evaluated(states.evaluated, fleet.hyper.seed))
    return jax.vmap(partial(_after, chunk))(states, means, ends)


Means = tuple[Float[Array, "*members"], Float[Array, "*members rows latent"]]


def _evaluated(chunk: FleetChunk, params: PyTree, seed: Array) -> Means:
    """Return a member's held-out ELBO and the raw scale outputs of the first held-out rows."""
    fleet = chunk.fleet
    preparation = fleet.fixed.preparation
    means, raw = held_out_rows(params, fleet.static, chunk.held_out, preparation, seed)
    return means.elbo, raw.reshape(-1, raw.shape[-1])[:_ROWS_FOR_QUANTILES]


def _evaluated_if(condition: Bool[Array, ""], evaluated: Callable[[], Means]) -> Means:
    """Evaluate if the condition holds; otherwise return −∞, which is never the best."""
    shapes = jax.eval_shape(evaluated)
    nothing = partial(jax.tree.map, lambda shape: jnp.full_like(shape, -jnp.inf), shapes)
    return lax.cond(condition, evaluated, nothing)


def _after(
    chunk: FleetChunk, state: TrainState, means: Means, ends: Array
) -> tuple[TrainState, Seen]:
    """Return a member's state after a chunk, and its results for the host."""
    elbo, raw = means
    state = with_best_kept(state, elbo, chunk.epoch.number + 1, ends)
    totals = jax.tree.map(partial(jnp.where, chunk.ends), state.totals.emptied(), state.totals)
    state = dataclasses.replace(state, totals=totals)
    return state, Seen(elbo, raw, state.best_epoch, state.failed_step)
