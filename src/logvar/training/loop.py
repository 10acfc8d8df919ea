"""The training loop: epochs of compiled chunks, early stopping, best weights.

No files, clocks or signals here: they reach the loop through a `Watcher`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from logvar.backend.compiling import Compiled, compiled, host_float, host_int
from logvar.backend.sparse import Rows
from logvar.data.examples import Examples, examples_of
from logvar.evaluation.elbo import HeldOut
from logvar.evaluation.noise import fit_noise
from logvar.models.base import Terms
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.processes.placement import Placement, local, several
from logvar.training.divergence.diagnosis import Diagnosis, diagnose
from logvar.training.divergence.rescue import remedy, rescued, under_its_scale
from logvar.training.epoch_end import EpochEnd, end_epoch, end_epoch_on
from logvar.training.extras import initial_extras
from logvar.training.feed import Feed, Resident
from logvar.training.optimizers import Rule
from logvar.training.schedules import Length, Rates, Schedule
from logvar.training.state import TrainState, initial_state, partition
from logvar.training.step import Chunk, Epoch, Fixed, Hyper, Task, run_chunk, run_chunk_on
from logvar.training.watching import EpochMetrics, Together, Watcher


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything the loop needs besides the model, the objective and the data."""

    epochs: int
    optimizer: Rule
    schedule: Schedule
    clip_norm: float
    seed: int
    patience: int
    """Epochs without a better held-out ELBO before training stops; 0 never stops early."""
    patience_starts: int
    """The epoch from which patience counts: the end of β's warm-up."""
    fixed: Fixed
    rescues: int = 0
    """The maximum number of rescues after steps that are not finite."""
    average_weights: float = 0.0
    """The share of the average weights that a step keeps; 0 keeps no average."""

    @property
    def averages(self) -> bool:
        """Whether the run keeps an average of the weights."""
        return self.average_weights > 0

    def out_of_patience(self, best_epoch: Any, epochs_done: int) -> Any:
        """Whether training stops early: of one run, or of each member of a fleet."""
        waited = epochs_done - np.maximum(best_epoch, self.patience_starts)
        return (self.patience > 0) & (waited >= self.patience)


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of training."""

    model: VAEModel
    """The model with the best weights if rows were held out, otherwise the last weights."""
    state: TrainState
    history: list[EpochMetrics]
    ended: str
    """"finished", "stopped early", "interrupted" or "not finite"."""
    diagnosis: Diagnosis | None = None
    """The first quantity that was not finite, and why, if that ended training."""
    rescues: Sequence[Diagnosis] = ()
    """A diagnosis for each rescue."""


def train(
    model: VAEModel,
    rows: Rows | Examples,
    validation: Rows | Examples | None,
    objective: Objective,
    plan: Plan,
    watcher: Watcher,
    *,
    coordinates: PyTree,
    state: TrainState | None = None,
    history: Sequence[EpochMetrics] = (),
    feed: Feed | None = None,
    placement: Placement | None = None,
) -> Trained:
    """Train a model from the start, or from a saved state and the epochs before it.

    Args:
        model: the model.
        rows: training rows.
        validation: held-out rows.
        objective: what is maximized.
        plan: how to train.
        watcher: observes and controls training.
        coordinates: those of the optimizer, for each weight.
        state: a saved state to continue from.
        history: the epochs before it.
        feed: how the training rows reach the device; by default all of them are there.
        placement: the devices that each compute a part of every batch; by default it is one. All
            processes start from the state of the first.
    """
    extras, averages = initial_extras(objective, model.latent_dim, plan.seed), plan.averages
    if state is None:
        state = initial_state(model, plan.optimizer, coordinates, extras, averages)
    programs = Programs.on(placement)
    if placement is not None:
        state = placement.of_the_first(state)
        watcher = Together(watcher, placement) if several() else watcher
    model, state, coordinates = under_its_scale(model, state, coordinates)
    examples = examples_of(rows)
    feed = feed or Resident(examples, plan.fixed.batch_size, plan.seed, placement)
    length = Length(plan.epochs, feed.steps)
    task = _task(model, objective, coordinates, plan, state, length)
    placed = programs.of(task)
    held_out = None if validation is None or not len(validation) else HeldOut.of(validation)
    held_out = programs.place(held_out)
    history = list(history)
    ended, diagnosis, rescues = "finished", None, []

    index, first_step = divmod(int(state.step), feed.steps)
    while index < plan.epochs:
        if _should_stop_early(plan, held_out, state, index):
            ended = "stopped early"
            break
        state, stopped = _run_epoch(programs, placed, feed, index, state, first_step, watcher)
        first_step = 0
        if int(state.failed_step) >= 0:
            state = programs.local(state)
            diagnosis = _diagnosis(state, feed, task)
            if int(state.rescues) >= plan.rescues:
                ended = "not finite"
                break
            rescues.append(diagnosis)
            first, bound = index * feed.steps, diagnosis.runaway_sigma
            state = rescued(
                state, task.static, plan.optimizer, coordinates, first, extras, bound=bound
            )
            model, state, coordinates = under_its_scale(model, state, coordinates)
            state = programs.place(state)
            task, diagnosis = _task(model, objective, coordinates, plan, state, length), None
            placed = programs.of(task)
            continue
        if stopped:
            ended = "interrupted"
            break
        metrics, state = _finish_epoch(programs, index + 1, state, placed, held_out, plan)
        history.append(metrics)
        watcher.on_epoch(metrics, state)
        index += 1
    if isinstance(watcher, Together):
        watcher.stop_requested()  # all end with an error of the last epoch

    state = programs.local(state)
    best = _best_model(model, state, held_out)
    best = fit_noise(best, examples, plan.fixed.preparation, plan.seed)
    return Trained(best, state, history, ended, diagnosis, rescues)


class Programs(NamedTuple):
    """The compiled programs of training for one device or for several."""

    run_chunk: Compiled
    end_epoch: Compiled
    place: Callable[[PyTree], PyTree]
    """Moves arrays that are alike in all processes to where the programs take them."""
    local: Callable[[PyTree], PyTree]
    """Moves arrays of the programs back to this process alone."""
    devices: int

    @classmethod
    def on(cls, placement: Placement | None) -> "Programs":
        """Return those of a placement, or those of one device."""
        if placement is None:
            return cls(run_chunk, end_epoch, _unmoved, _unmoved, 1)
        of_several = run_chunk_on(placement), end_epoch_on(placement)
        return cls(*of_several, placement.everywhere, local, placement.parts)

    def of(self, task: Task) -> Task:
        """Return a task as the programs take it."""
        return self.place(task._replace(fixed=task.fixed._replace(devices=self.devices)))


def _unmoved(tree: PyTree) -> PyTree:
    return tree


def _run_epoch(
    programs: Programs,
    task: Task,
    feed: Feed,
    number: int,
    state: TrainState,
    first: int,
    watcher: Watcher,
) -> tuple[TrainState, bool]:
    """Run the rest of an epoch in chunks; return whether the user asked to stop before its end."""
    with contextlib.closing(feed.spans(number, first)) as spans:
        for epoch, t, end in spans:
            while t < end and int(state.failed_step) < 0:
                if watcher.stop_requested():
                    return state, True
                stop = min(t + watcher.chunk_steps(), end)
                state = programs.run_chunk(Chunk(task, epoch, host_int(t), host_int(stop)), state)
                t = stop
                watcher.on_chunk(number + 1, t, feed.steps, state)
            if int(state.failed_step) >= 0:
                break
    return state, False


def _task(
    model: VAEModel,
    objective: Objective,
    coordinates: PyTree,
    plan: Plan,
    state: TrainState,
    length: Length,
) -> Task:
    """Return the constants of the steps, with the remedy of the rescues so far.

    The number of rescues is part of the state, so a resumed run continues as it would have.
    """
    now = remedy(plan.schedule.rate, plan.clip_norm, int(state.rescues))
    rates = plan.schedule.rates(now.learning_rate, length)
    average = host_float(plan.average_weights) if plan.averages else None
    hyper = Hyper(rates, host_float(now.clip_norm), host_int(plan.seed), average)
    static = partition(model)[1]
    return Task(static, objective, plan.optimizer, coordinates, hyper, plan.fixed)


def _diagnosis(state: TrainState, feed: Feed, task: Task) -> Diagnosis:
    """Diagnose the batch of the step that was not taken."""
    number, t = divmod(int(state.failed_step), feed.steps)
    batch, valid = feed.batch(number, t)
    epoch = Epoch(batch, None, host_int(feed.rows), host_int(number))
    return diagnose(state, batch, valid, (epoch, t), task)


def _finish_epoch(
    programs: Programs,
    epoch: int,
    state: TrainState,
    task: Task,
    held_out: HeldOut | None,
    plan: Plan,
) -> tuple[EpochMetrics, TrainState]:
    """Evaluate the held-out set, keep the best weights, and reset the totals."""
    end = EpochEnd(
        task.static,
        task.fixed.preparation,
        held_out,
        keeps_last=plan.rescues > 0,
        seed=host_int(plan.seed),
        number=host_int(epoch),
    )
    state, summary = programs.end_epoch(end, state)
    totals, validation = jax.device_get(summary)
    means = jax.tree.map(lambda total: total / float(totals.count), totals.terms)
    metrics = EpochMetrics(
        epoch=epoch,
        step=int(state.step),
        loss=float(totals.loss) / float(totals.count),
        train=summarize(means),
        validation=None if validation is None else summarize(validation),
        best_epoch=int(state.best_epoch),
        rescues=int(state.rescues),
        learning_rate=_last_rate(task.hyper.rates, int(state.step)),
    )
    return metrics, state


_rate_of = compiled(lambda rates, step: rates(step))


def _last_rate(rates: Rates, steps: int) -> float | None:
    """Return the learning rate of the last step taken; None if all steps have the same."""
    return None if rates.factor is None else float(_rate_of(rates, host_int(steps - 1)))


def summarize(means: Terms) -> dict[str, float]:
    """Return ELBO, reconstruction and KL of mean terms, in nats per example."""
    kl = float(np.sum(np.asarray(means.kl), dtype=np.float64))
    reconstruction = float(means.log_likelihood)
    return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def _should_stop_early(
    plan: Plan, held_out: HeldOut | None, state: TrainState, epochs_done: int
) -> bool:
    return held_out is not None and bool(plan.out_of_patience(int(state.best_epoch), epochs_done))


def _best_model(model: VAEModel, state: TrainState, held_out: HeldOut | None) -> VAEModel:
    _, static = partition(model)
    has_best = held_out is not None and int(state.best_epoch) > 0
    return eqx.combine(state.best_params if has_best else state.evaluated, static)
