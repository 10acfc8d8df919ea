"""Many models at once: the pure step of a single run, stacked over seeds and learning rates.

The members of a fleet share the rows, the objective and the shape of the model; each has its own
weights, seed (so its own order and noise), learning rate, clipping and coordinates. One compiled
program trains them all. The smallest models spend most of a step on overhead that is paid once if
all members take it at once. On a CPU larger ones go through an epoch in turn, which keeps one model
in the caches, and each core trains its own share: their products are too small to be shared out.
Early stopping and divergence are each member's own: a member that has failed stays as it was, and
one that has stopped keeps its best weights, while the others go on.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.cores import cores
from logvar.data.order import epoch_order
from logvar.evaluation.elbo import HeldOut, held_out_rows
from logvar.model import Model
from logvar.native.library import on_one_core
from logvar.networks.compiling import compiled
from logvar.objectives import Objective
from logvar.training.loop import Plan, Watcher
from logvar.training.optimizers import direction
from logvar.training.pace import Pace
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

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
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


@dataclasses.dataclass(frozen=True)
class Raised:
    """A member after training."""

    model: Model
    """With the weights of the best held-out ELBO."""
    ended: str
    """"finished", "stopped early" or "not finite"."""
    failed_step: int
    """The step that was not finite, counted from 1; 0 is none."""
    best_epoch: int
    best_elbo: float
    """Held-out ELBO of the best weights, nats per example."""
    curve: list[dict[str, Any]]
    """One entry per epoch: held-out ELBO and quantiles of the held-out raw outputs."""


class _Fleet(NamedTuple):
    """What stays the same from step to step; leaves of the last two have a member axis."""

    static: Any
    objective: Objective
    fixed: Fixed
    hyper: Hyper
    coordinates: PyTree
    side_by_side: bool
    """Whether other shares train at the same time."""
    in_turn: bool
    """Whether each member goes through an epoch before the next does."""


def train_fleet(
    members: Sequence[Member],
    rows: np.ndarray,
    validation: np.ndarray,
    objective: Objective,
    plan: Plan,
    *,
    latent_dim: int,
    shares: int | None = None,
    pace: Callable[[], Watcher] = Pace,
    on_epoch: Callable[[int, int], None] = lambda epoch, training: None,
) -> list[Raised]:
    """Train all members; each ends as its single run would, to rounding.

    Args:
        members: models of one structure.
        rows: training rows, shared.
        validation: held-out rows, by which each member stops early and its best weights are kept.
        objective: shared.
        plan: epochs, patience and what a step is compiled for; seeds and learning rates are the
            members' own.
        latent_dim: number of latents.
        shares: equal parts that train side by side, each in a thread; `shares_for` by default.
        pace: makes a watcher for each share, which says how long a chunk may be.
        on_epoch: is told, from those threads, an epoch that a share has closed and how many
            members are still training.
    """
    shares = shares_for(len(members)) if shares is None else shares
    size = len(members) // shares
    on_device = jax.device_put(rows), HeldOut.of(validation)  # jnp.asarray would copy
    together = _Together(on_epoch, [size] * shares)

    def train(index: int) -> list[Raised]:
        share, watching = members[index * size :][:size], _Watching(index, pace(), together)
        return _train_share(share, on_device, len(rows), objective, plan, latent_dim, watching)

    with ThreadPoolExecutor(shares) as pool:
        try:
            raised = list(pool.map(train, range(shares)))
        except BaseException:
            together.leave.set()  # Ctrl-C comes to the main thread; the others are asked to end
            raise
    return [member for share in raised for member in share]


def shares_for(members: int) -> int:
    """How many shares train side by side by default: one for each core, if they come out equal and
    of two members or more; one on an accelerator."""
    fitting = (n for n in range(cores(), 1, -1) if members % n == 0 and members // n > 1)
    return next(fitting, 1)


class _Together:
    """What the shares of a fleet have in common while they train."""

    def __init__(self, on_epoch: Callable[[int, int], None], training: list[int]):
        self.leave = threading.Event()
        self.compiling = threading.Lock()
        """Held while a share calls a program for the first time, so that the others find it."""
        self.shares = len(training)
        self._on_epoch, self._training = on_epoch, training
        self._telling = threading.Lock()

    def tell(self, share: int, epoch: int, training: int) -> None:
        """A share has closed an epoch and so many of its members go on."""
        with self._telling:
            self._training[share] = training
            self._on_epoch(epoch, sum(self._training))


class _Watching(NamedTuple):
    """What surrounds the training of a share."""

    share: int
    pace: Watcher
    together: _Together


def _train_share(
    members: Sequence[Member],
    on_device: tuple[Array, HeldOut],
    n: int,
    objective: Objective,
    plan: Plan,
    latent_dim: int,
    watching: _Watching,
) -> list[Raised]:
    """Train some of the members, from the first epoch to the last of them that goes on."""
    share, pace, together = watching
    fleet, states = _assembled(members, objective, plan, latent_dim, together.shares > 1)
    batch_size = plan.fixed.batch_size
    steps = -(-n // batch_size)
    device_rows, held_out = on_device
    valid = int(held_out.weight.sum())
    seeds = [member.seed for member in members]
    active = np.ones(len(members), bool)
    curves: list[list[dict[str, Any]]] = [[] for _ in members]
    stopped = np.zeros(len(members), bool)

    for index in range(plan.epochs):
        orders = np.stack([epoch_order(n, batch_size, seed, index) for seed in seeds])
        epoch = Epoch(device_rows, jnp.asarray(orders), jnp.asarray(n), jnp.asarray(index))
        training = jnp.asarray(active)
        t = 0
        while t < steps and not together.leave.is_set():
            stop = min(t + pace.chunk_steps(), steps)
            chunk = _Bounds(fleet, epoch, training, jnp.asarray(t), jnp.asarray(stop))
            with together.compiling if index == t == 0 else contextlib.nullcontext():
                states = _run_chunk(chunk, states)
            t = stop
            pace.on_chunk(index + 1, t, steps, states)
        closing = _Closing(fleet, held_out, training, jnp.asarray(index + 1))
        with together.compiling if index == 0 else contextlib.nullcontext():
            states, seen = _close(closing, states)
        elbo, raw, best_epoch, failed = (np.asarray(value) for value in seen)
        raw = raw[:, :valid].reshape(len(members), -1)
        # XLA sorts ten times as long, and NumPy's quantiles take thrice as long of unsorted rows.
        quantiles = np.quantile(np.sort(raw, axis=1), QUANTILES, axis=1).T
        for i in np.flatnonzero(active & (failed < 0)):
            entry = {"epoch": index + 1, "validation_elbo": float(elbo[i])}
            names = (f"raw_{q:g}" for q in QUANTILES)
            curves[i].append(entry | dict(zip(names, map(float, quantiles[i]), strict=True)))
        waited = index + 1 - np.maximum(best_epoch, plan.patience_starts)
        stopped |= active & (failed < 0) & bool(plan.patience) & (waited >= plan.patience)
        active &= (failed < 0) & ~stopped
        together.tell(share, index + 1, int(active.sum()))
        if together.leave.is_set() or not active.any():
            break
    ends = jax.tree.map(np.asarray, states)  # taken apart on the host, where that costs nothing
    return [_raised(ends, fleet.static, i, curves[i], bool(stopped[i])) for i in range(len(seeds))]


def _assembled(
    members: Sequence[Member],
    objective: Objective,
    plan: Plan,
    latent_dim: int,
    side_by_side: bool,
) -> tuple[_Fleet, TrainState]:
    """The members' states and numbers, stacked."""
    _, static = partition(members[0].model)
    optimizer = direction(plan.fixed.optimizer, plan.fixed.weight_decay)
    models = _stacked([partition(member.model)[0] for member in members])
    coordinates = _stacked([member.coordinates for member in members])
    states = _started(models, static, optimizer, latent_dim, coordinates)
    hyper = Hyper(
        jnp.asarray([m.learning_rate for m in members], jnp.float32),
        jnp.full(len(members), plan.clip_norm, jnp.float32),
        jnp.asarray([m.seed for m in members], jnp.int32),
    )
    in_turn = _worth_a_turn(members[0].model, plan.fixed.batch_size)
    return _Fleet(static, objective, plan.fixed, hyper, coordinates, side_by_side, in_turn), states


def _worth_a_turn(model: Model, batch_size: int) -> bool:
    weights = sum(leaf.size for leaf in jax.tree.leaves(partition(model)[0]))
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


class _Bounds(NamedTuple):
    fleet: _Fleet
    epoch: Epoch
    active: Bool[Array, "members"]
    """Which of them still train. Those that take their steps in turn leave the others out."""
    start: Int[Array, ""]
    stop: Int[Array, ""]


def _chunk(bounds: _Bounds, states: TrainState) -> TrainState:
    """Steps [start, stop) of an epoch for all members, in one program."""
    with on_one_core(bounds.fleet.side_by_side):
        return (_steps_in_turn if bounds.fleet.in_turn else _steps_at_once)(bounds, states)


def _steps_in_turn(bounds: _Bounds, states: TrainState) -> TrainState:
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


def _steps_at_once(bounds: _Bounds, states: TrainState) -> TrainState:
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


_run_chunk = compiled(_chunk, donate="all-except-first")


class _Seen(NamedTuple):
    """What the host learns of an epoch, for each member."""

    elbo: Float[Array, "members"]
    raw: Float[Array, "members rows latent"]
    """Raw scale outputs of the first held-out rows, padding included."""
    best_epoch: Int[Array, "members"]
    failed_step: Int[Array, "members"]


class _Closing(NamedTuple):
    """What the end of an epoch needs beside the states."""

    fleet: _Fleet
    held_out: HeldOut
    active: Bool[Array, "members"]
    """Which of them still train."""
    epoch: Array


def _closed(closing: _Closing, states: TrainState) -> tuple[TrainState, _Seen]:
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
        return state, _Seen(elbo, some, state.best_epoch, state.failed_step)

    with on_one_core(fleet.side_by_side):
        return jax.vmap(member)(states, fleet.hyper.seed, active)


_close = compiled(_closed, donate="all-except-first")


def _raised(
    states: Any, static: Any, index: int, curve: list[dict[str, Any]], stopped: bool
) -> Raised:
    """One member out of states that lie on the host."""
    state = jax.tree.map(lambda leaf: leaf[index], states)
    # One that has stopped may have gone on beside the others and failed: its run had ended by then.
    failed = -1 if stopped else int(state.failed_step)
    params = state.best_params if int(state.best_epoch) > 0 else state.params
    params = jax.tree.map(jnp.asarray, params)
    return Raised(
        model=eqx.combine(params, static),
        ended="not finite" if failed >= 0 else "stopped early" if stopped else "finished",
        failed_step=failed + 1,
        best_epoch=int(state.best_epoch),
        best_elbo=float(state.best_elbo),
        curve=curve,
    )
