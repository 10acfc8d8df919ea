"""Many models at once: the pure step of a single run, stacked over seeds and learning rates.

The members of a fleet share the rows, the objective and the shape of the model. Each has its own
weights, seed (so its own order and noise), learning rate, clipping and coordinates. One compiled
program trains them all (`members`). On a CPU each core trains its own share of the members, because
the matrix products of small models are too small to split between cores.
Early stopping and divergence are handled per member: a failed member keeps its state, a stopped one
keeps its best weights, and the others continue.
"""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from logvar.backend.compiling import host_int
from logvar.cores import cores
from logvar.data.examples import Examples, examples_of
from logvar.data.order import epoch_order
from logvar.evaluation.elbo import HeldOut
from logvar.evaluation.noise import fit_noise
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.training.feed import on_device
from logvar.training.fleet.members import FleetChunk, Member, assembled, run_all
from logvar.training.loop import Plan
from logvar.training.pace import Pace
from logvar.training.schedules import Length
from logvar.training.step import Epoch
from logvar.training.watching import Watcher

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclasses.dataclass(frozen=True)
class TrainedMember:
    """A member after training."""

    model: VAEModel
    """The model with the weights of the best held-out ELBO."""
    ended: str
    """"finished", "stopped early" or "not finite"."""
    failed_step: int
    """The step that was not finite, counted from 1; 0 means none."""
    best_epoch: int
    best_elbo: float
    """Held-out ELBO of the best weights, nats per example."""
    curve: list[dict[str, Any]]
    """One entry per epoch: held-out ELBO and quantiles of the held-out raw outputs."""


def train_fleet(
    members: Sequence[Member],
    rows: np.ndarray | Examples,
    validation: np.ndarray | Examples,
    objective: Objective,
    plan: Plan,
    *,
    shares: int | None = None,
    pace: Callable[[], Watcher] = Pace,
    on_epoch: Callable[[int, int], None] = lambda epoch, training: None,
) -> list[TrainedMember]:
    """Train all members; each ends as its single run would, to rounding.

    Args:
        members: models of one structure.
        rows: training rows, shared.
        validation: held-out rows, shared; they decide when each member stops and which of its
        weights are best.
        objective: shared.
        plan: epochs, patience, optimizer, schedule and what a step is compiled for. Each member
            has its own seed and learning rate; the schedule gives the shape of the rate.
        shares: equal parts, each in a thread, of which one per core trains at a time; by default
            `shares_for`. The last bits depend on their number, not on the number of cores.
        pace: makes a watcher for each share, which sets the length of its chunks.
        on_epoch: called from those threads with each epoch that a share has finished and the
            number of members still training.
    """
    shares = shares_for(len(members)) if shares is None else shares
    size = len(members) // shares
    rows = examples_of(rows)
    placed = on_device(rows), HeldOut.of(validation)
    together = _Together(on_epoch, [size] * shares)

    def train(index: int) -> list[TrainedMember]:
        share, watching = members[index * size :][:size], _Watching(index, pace(), together)
        return _train_share(share, placed, len(rows), objective, plan, watching)

    with ThreadPoolExecutor(min(shares, cores())) as pool:
        try:
            raised = list(pool.map(train, range(shares)))
        except BaseException:
            together.leave.set()  # the main thread gets Ctrl-C; the others are asked to stop
            raise
    preparation, all_raised = plan.fixed.preparation, [one for share in raised for one in share]
    return [
        dataclasses.replace(one, model=fit_noise(one.model, rows, preparation, member.seed))
        for one, member in zip(all_raised, members, strict=True)
    ]


def shares_for(members: int) -> int:
    """Return the default number of shares.

    One for each core, if the shares are equal and have at least two members; one on an accelerator.
    """
    fitting = (n for n in range(cores(), 1, -1) if members % n == 0 and members // n > 1)
    return next(fitting, 1)


class _Together:
    """State that the shares of a fleet have in common while they train."""

    def __init__(self, on_epoch: Callable[[int, int], None], training: list[int]):
        self.leave = threading.Event()
        self.compiling = threading.Lock()
        """Held while a share calls a program for the first time, so the others find it compiled."""
        self.shares = len(training)
        self._on_epoch, self._training = on_epoch, training
        self._telling = threading.Lock()

    def tell(self, share: int, epoch: int, training: int) -> None:
        """Report that a share has finished an epoch and how many of its members still train."""
        with self._telling:
            self._training[share] = training
            self._on_epoch(epoch, sum(self._training))


class _Watching(NamedTuple):
    """The watcher and callbacks of a share."""

    share: int
    pace: Watcher
    together: _Together


def _train_share(
    members: Sequence[Member],
    placed: tuple[Batch, HeldOut],
    n: int,
    objective: Objective,
    plan: Plan,
    watching: _Watching,
) -> list[TrainedMember]:
    """Train some of the members, from the first epoch until the last of them stops."""
    share, pace, together = watching
    batch_size = plan.fixed.batch_size
    steps = -(-n // batch_size)
    length = Length(plan.epochs, steps)
    fleet, states = assembled(members, objective, plan, length, together.shares > 1)
    device_rows, held_out = placed
    valid = int(np.asarray(held_out.weight).sum())
    seeds = [member.seed for member in members]
    active: Any = np.ones(len(members), bool)
    curves: list[list[dict[str, Any]]] = [[] for _ in members]
    stopped = np.zeros(len(members), bool)

    for index in range(plan.epochs):
        orders: Any = np.stack([epoch_order(n, batch_size, seed, index) for seed in seeds])
        epoch = Epoch(device_rows, orders, host_int(n), host_int(index))
        t = 0
        while t < steps and not together.leave.is_set():
            stop = min(t + pace.chunk_steps(), steps)
            chunk = FleetChunk(fleet, epoch, held_out, active, host_int(t), host_int(stop))
            with together.compiling if index == t == 0 else contextlib.nullcontext():
                states, seen = run_all(chunk, states)
            t = stop
            pace.on_chunk(index + 1, t, steps, states)
        if t < steps:
            break
        elbo, raw, best_epoch, failed = (np.asarray(value) for value in seen)
        going = np.flatnonzero(active & (failed < 0))
        entries = _entries(index + 1, elbo[going], raw[going, :valid])
        for i, entry in zip(going, entries, strict=True):
            curves[i].append(entry)
        stopped |= active & (failed < 0) & plan.out_of_patience(best_epoch, index + 1)
        active &= (failed < 0) & ~stopped
        together.tell(share, index + 1, int(active.sum()))
        if not active.any():
            break
    ends = jax.tree.map(np.asarray, states)  # split on the host, where that costs nothing
    return [
        _trained_member(ends, fleet.static, i, curves[i], bool(stopped[i]))
        for i in range(len(seeds))
    ]


def _entries(epoch: int, elbos: np.ndarray, raw: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield what an epoch adds to the curves of the members that were evaluated."""
    rows = raw.reshape(len(raw), math.prod(raw.shape[1:]))
    # XLA's sort takes ten times as long, and NumPy's quantiles three times on unsorted rows.
    quantiles = np.quantile(np.sort(rows, axis=1), QUANTILES, axis=1).T
    for elbo, of_member in zip(elbos.tolist(), quantiles.tolist(), strict=True):
        entry = {"epoch": epoch, "validation_elbo": elbo}
        yield entry | {f"raw_{q:g}": value for q, value in zip(QUANTILES, of_member, strict=True)}


def _trained_member(
    states: Any, static: Any, index: int, curve: list[dict[str, Any]], stopped: bool
) -> TrainedMember:
    """Extract one member from states on the host."""
    state = jax.tree.map(lambda leaf: leaf[index], states)
    # A stopped member may have stepped on with the others and failed; its run had ended.
    failed = -1 if stopped else int(state.failed_step)
    params = state.best_params if int(state.best_epoch) > 0 else state.evaluated
    params = jax.tree.map(jnp.asarray, params)
    return TrainedMember(
        model=eqx.combine(params, static),
        ended="not finite" if failed >= 0 else "stopped early" if stopped else "finished",
        failed_step=failed + 1,
        best_epoch=int(state.best_epoch),
        best_elbo=float(state.best_elbo),
        curve=curve,
    )
