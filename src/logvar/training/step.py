"""The pure training step and the compiled chunk of many steps.

Chunk boundaries never change a byte: a chunk runs steps [start, stop) of an epoch and passes on the
whole state, and every random number is a function of (seed, epoch, step).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Int32, PRNGKeyArray, PyTree

from logvar.backend.compiling import Compiled, compiled
from logvar.backend.ops import global_norm, optimized
from logvar.backend.precision import Precision, in_training
from logvar.data.preparation import Preparation
from logvar.models.base import Terms
from logvar.models.batch import Batch
from logvar.objectives import Moment, Objective
from logvar.processes.placement import CUT, SAME, Placement
from logvar.randomness import Purpose, stream
from logvar.training.averaging import averaged_weights
from logvar.training.extras import updated
from logvar.training.optimizers import Rule, StepScalars
from logvar.training.schedules import Rates
from logvar.training.sharding import WHOLE, Drawing, Part, mean_over_parts, part_of_this_device
from logvar.training.state import Totals, TrainState


class Hyper(NamedTuple):
    """Numbers that a compiled program takes as inputs, so changing them compiles nothing."""

    rates: Rates
    """The learning rate of each step."""
    clip_norm: Float[Array, ""]
    """The gradient's global norm is clipped to this; 0 is off (Pascanu et al. 2013)."""
    seed: Int[Array, ""]
    average: Float[Array, ""] | None = None
    """The share of the average weights that a step keeps; None if none are kept."""


class Fixed(NamedTuple):
    """The constants that a program is compiled for."""

    batch_size: int
    preparation: Preparation
    precision: Precision = Precision.FLOAT32
    """Precision of the networks' products, forward and backward."""
    shards: int = 1
    """The parts of a batch that are added in a fixed order; 1 divides no batch."""
    devices: int = 1
    """The devices that each compute an equal part of every batch."""

    @property
    def rows_per_device(self) -> int:
        """The rows of a batch that one device computes."""
        return self.batch_size // self.devices


class Epoch(NamedTuple):
    """Rows of the training set on the device, and the order this epoch visits them in."""

    rows: Batch
    """Stored rows, with their sample weights if there are any."""
    order: Int32[Array, "padded"] | None
    """None if the rows are in that order."""
    n: Int[Array, ""]
    """The number of the epoch's rows; the others are padding."""
    number: Int[Array, ""]
    first: Int[Array, ""] | None = None
    """The step at which these rows begin; None if they are all of the epoch's."""


class Task(NamedTuple):
    """Everything that stays the same from step to step."""

    static: Any
    """The part of the model that does not train."""
    objective: Objective
    optimizer: Rule
    coordinates: PyTree
    """A factor c for each weight: the optimizer sees weight ÷ c and gradient × c, as if the network
    were written in those coordinates."""
    hyper: Hyper
    fixed: Fixed


class Keys(NamedTuple):
    """The random keys of a step, as functions of (seed, epoch, step)."""

    binarization: PRNGKeyArray
    noise: PRNGKeyArray
    objective: PRNGKeyArray

    @classmethod
    def of_epoch(cls, seed: Int[Array, ""], epoch: Int[Array, ""]) -> "Keys":
        """Return what the steps of an epoch share, to be computed once outside their loop."""
        purposes = Purpose.BINARIZATION, Purpose.NOISE, Purpose.OBJECTIVE
        return cls(*(stream(seed, purpose, epoch) for purpose in purposes))

    def at(self, t: Int[Array, ""]) -> "Keys":
        """Return the keys of the epoch's step t."""
        return Keys(*(jax.random.fold_in(key, t) for key in self))


def step(state: TrainState, batch: Batch, keys: Keys, task: Task, position: Epoch) -> TrainState:
    """Take one optimizer step on one batch; a step that is not finite is recorded and not taken.

    Args:
        state: the state before the step.
        batch: stored rows with their weights; padding has weight 0.
        keys: the keys of this step.
        task: objective, optimizer and the rest.
        position: the epoch that the step belongs to.
    """
    static, _, optimizer, coordinates, hyper, fixed = task
    own = None if state.extras is None else state.extras.weights

    def mean_of(rows: Batch, part: Part) -> PyTree:
        loss = loss_function(static, rows, state.step, keys, task, position, part)
        differentiated = optimized(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        return differentiated(state.params, own)

    if fixed.shards == fixed.devices == 1:
        found, count = mean_of(batch, WHOLE), jnp.sum(batch.weights)
    else:
        zero = jnp.minimum(position.n, 0)
        found, count = mean_over_parts(mean_of, batch, fixed.shards, fixed.devices, zero)
    (value, terms), (gradient, of_extras) = found
    norm = global_norm(jax.tree.leaves(gradient), jax.tree.leaves(coordinates))
    # A failed member of a fleet keeps its state while the others continue.
    finite = jnp.isfinite(value) & jnp.isfinite(norm) & (state.failed_step < 0)
    if state.extras is not None:
        finite &= jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(of_extras)]))
    clipped = (hyper.clip_norm > 0) & (norm > hyper.clip_norm)
    clip = jnp.where(clipped, hyper.clip_norm / norm, 1.0)
    scalars = StepScalars(hyper.rates(state.step), clip, finite, value)
    params, optimizer_state = optimizer.step(
        state.params, gradient, state.optimizer, coordinates, scalars
    )

    extras, average = state.extras, state.average
    if extras is not None:
        extras = updated(task.objective, extras, of_extras, finite, value)
    if average is not None:
        assert hyper.average is not None  # a run that keeps an average says how
        average = averaged_weights(average, params, hyper.average, state.step, finite)

    totals = Totals(
        jax.tree.map(lambda total, mean: total + mean * count, state.totals.terms, terms),
        state.totals.loss + value * count,
        state.totals.count + count,
    )
    after, before = (totals, state.step + 1), (state.totals, state.step)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, before)
    return dataclasses.replace(
        state,
        params=params,
        optimizer=optimizer_state,
        totals=kept[0],
        step=kept[1],
        failed_step=jnp.where(finite, state.failed_step, state.step),
        extras=extras,
        average=average,
    )


def loss_function(
    static: Any,
    batch: Batch,
    steps: Int[Array, ""],
    keys: Keys,
    task: Task,
    position: Epoch,
    part: Part = WHOLE,
) -> Callable[[PyTree, PyTree], tuple[Array, Terms]]:
    """Return the loss of a step, or of a part of its batch, as a function of the weights and of the
    objective's own: a step differentiates it, and a diagnosis repeats it."""
    fixed, objective = task.fixed, task.objective
    drawing = drawing_of(static, objective, fixed)
    batch, eps = drawing.of(batch, keys.binarization, keys.noise, part)
    own_key = keys.objective
    if part.of > 1:
        own_key = jax.random.fold_in(own_key, part.index)
    steps_per_epoch = (position.n + fixed.batch_size - 1) // fixed.batch_size
    moment = Moment(steps, position.number, position.n, steps_per_epoch, own_key)

    def loss(params: PyTree, extras: PyTree) -> tuple[Array, Terms]:
        model = in_training(eqx.combine(params, static), fixed.precision)
        return objective(model, batch, eps, moment._replace(extras=extras))

    return loss


def drawing_of(static: Any, objective: Objective, fixed: Fixed) -> Drawing:
    """Return how the random numbers of a run's batches are drawn."""
    # `noise_like` reads no weights.
    return Drawing(fixed.preparation, static.noise_like(), objective.samples, fixed.shards)


def batch_at(
    epoch: Epoch,
    order: Int32[Array, "padded"] | None,
    t: Int[Array, ""],
    size: int,
    part: Part = WHOLE,
) -> Batch:
    """Return the rows of step t in the given order, with their weights; padding has weight 0.

    Args:
        epoch: the rows of a part of each batch.
        order: theirs.
        t: the step.
        size: the number of rows of the part.
        part: which part it is.
    """
    first = (t * part.of + part.index) * size
    start = (t if epoch.first is None else t - epoch.first) * size
    if order is None:
        cut = functools.partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        batch = jax.tree.map(cut, epoch.rows)
    else:
        batch = epoch.rows[lax.dynamic_slice(order, (start,), (size,))]
    weight = (first + jnp.arange(size) < epoch.n).astype(jnp.float32)
    return dataclasses.replace(
        batch, weight=weight if batch.weight is None else weight * batch.weight
    )


class Chunk(NamedTuple):
    """Steps [start, stop) of an epoch."""

    task: Task
    epoch: Epoch
    start: Int[Array, ""]
    stop: Int[Array, ""]


def take_steps(chunk: Chunk, state: TrainState) -> TrainState:
    """Take the steps of a chunk in one loop, up to the first that fails."""
    task, epoch, start, stop = chunk
    size, part = task.fixed.rows_per_device, part_of_this_device(task.fixed.devices)
    keys = Keys.of_epoch(task.hyper.seed, epoch.number)

    def unfinished(carry: tuple[Array, TrainState]) -> Array:
        t, state = carry
        return (t < stop) & (state.failed_step < 0)

    def body(carry: tuple[Array, TrainState]) -> tuple[Array, TrainState]:
        t, state = carry
        batch = batch_at(epoch, epoch.order, t, size, part)
        state = step(state, batch, keys.at(t), task, epoch)
        return t + 1, state

    return lax.while_loop(unfinished, body, (start, state))[1]


run_chunk = compiled(take_steps, donate=True)
"""`take_steps`, compiled. The state is donated: its memory is reused for the result."""


@functools.cache
def run_chunk_on(placement: Placement) -> Compiled:
    """Return `run_chunk` for several devices, each of which computes a part of every batch.

    Rows without an order are cut, one part for each device; with an order, all devices have all
    rows, and the order is cut.
    """

    def take_steps_together(chunk: Chunk, state: TrainState) -> TrainState:
        rows = CUT if chunk.epoch.order is None else SAME
        specs = Chunk(SAME, Epoch(rows, CUT, SAME, SAME, SAME), SAME, SAME)  # type: ignore[arg-type]
        return placement.on_each_device(take_steps, (chunk, state), (specs, SAME))

    return compiled(take_steps_together, donate=True)
