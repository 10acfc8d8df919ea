"""The training loop: epochs of compiled chunks, early stopping, best weights.

No files, clocks or signals here: they reach the loop through a `Watcher`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from logvar.backend.compiling import compiled, host_float, host_int
from logvar.backend.sparse import Rows, as_arrays
from logvar.data.examples import Examples, examples_of
from logvar.data.order import epoch_order, padded
from logvar.evaluation.elbo import HeldOut
from logvar.evaluation.noise import fit_noise
from logvar.models.base import Terms
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.training.divergence.diagnosis import Diagnosis, diagnose
from logvar.training.divergence.rescue import remedy, rescued, under_its_scale
from logvar.training.epoch_end import EpochEnd, end_epoch
from logvar.training.extras import initial_extras
from logvar.training.optimizers import Rule
from logvar.training.schedules import Length, Rates, Schedule
from logvar.training.state import TrainState, initial_state, partition
from logvar.training.step import Chunk, Epoch, Fixed, Hyper, Task, run_chunk


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
class EpochMetrics:
    """One line of metrics.jsonl: means in nats per example at β = 1, and no clocks."""

    epoch: int
    step: int
    loss: float
    train: dict[str, float]
    validation: dict[str, float] | None
    best_epoch: int
    rescues: int
    """Rescues so far."""
    learning_rate: float | None = None
    """The rate of the epoch's last step, if the schedule changes it."""

    def as_dict(self) -> dict[str, Any]:
        line = dataclasses.asdict(self)
        if self.learning_rate is None:
            del line["learning_rate"]
        return line


@runtime_checkable
class Watcher(Protocol):
    """Observes and controls the loop from outside: progress, files, signals."""

    def chunk_steps(self) -> int:
        """Return how many steps to run before asking again; this never changes a result."""

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        """Called after each chunk with the number of steps of the epoch done so far."""

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        """Called after each epoch."""

    def stop_requested(self) -> bool:
        """Return whether the user asked to stop; called between chunks."""


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
) -> Trained:
    """Train a model from the start, or from a saved state and the epochs before it."""
    extras, averages = initial_extras(objective, model.latent_dim, plan.seed), plan.averages
    if state is None:
        state = initial_state(model, plan.optimizer, coordinates, extras, averages)
    model, state, coordinates = under_its_scale(model, state, coordinates)
    examples = examples_of(rows)
    n, batch_size = len(examples), plan.fixed.batch_size
    steps_per_epoch = -(-n // batch_size)
    length = Length(plan.epochs, steps_per_epoch)
    task = _task(model, objective, coordinates, plan, state, length)
    device_rows = on_device(examples)
    held_out = None if validation is None or not len(validation) else HeldOut.of(validation)
    history = list(history)
    ended, diagnosis, rescues = "finished", None, []

    index, first_step = divmod(int(state.step), steps_per_epoch)
    while index < plan.epochs:
        if _should_stop_early(plan, held_out, state, index):
            ended = "stopped early"
            break
        order: Any = epoch_order(n, batch_size, plan.seed, index)
        epoch = Epoch(device_rows, order, host_int(n), host_int(index))
        state, stopped = _run_epoch(task, epoch, state, first_step, steps_per_epoch, watcher)
        first_step = 0
        if int(state.failed_step) >= 0:
            diagnosis = _diagnosis(state, examples, task, plan)
            if int(state.rescues) >= plan.rescues:
                ended = "not finite"
                break
            rescues.append(diagnosis)
            first, bound = index * steps_per_epoch, diagnosis.runaway_sigma
            state = rescued(
                state, task.static, plan.optimizer, coordinates, first, extras, bound=bound
            )
            model, state, coordinates = under_its_scale(model, state, coordinates)
            task, diagnosis = _task(model, objective, coordinates, plan, state, length), None
            continue
        if stopped:
            ended = "interrupted"
            break
        metrics, state = _finish_epoch(index + 1, state, task, held_out, plan)
        history.append(metrics)
        watcher.on_epoch(metrics, state)
        index += 1

    best = _best_model(model, state, held_out)
    best = fit_noise(best, examples, plan.fixed.preparation, plan.seed)
    return Trained(best, state, history, ended, diagnosis, rescues)


def on_device(examples: Examples) -> Batch:
    """Move training rows to the device, padded so that similar numbers share a compiled program."""
    return jax.device_put(jax.tree.map(padded, _training_rows(examples)))


def _training_rows(examples: Examples) -> Batch:
    return dataclasses.replace(examples.stored, label=examples.label, weight=examples.weight)


def _run_epoch(
    task: Task, epoch: Epoch, state: TrainState, first: int, steps: int, watcher: Watcher
) -> tuple[TrainState, bool]:
    """Run the rest of an epoch in chunks; return whether the user asked to stop before its end."""
    t = first
    while t < steps and int(state.failed_step) < 0:
        if watcher.stop_requested():
            return state, True
        stop = min(t + watcher.chunk_steps(), steps)
        state = run_chunk(Chunk(task, epoch, host_int(t), host_int(stop)), state)
        t = stop
        watcher.on_chunk(int(epoch.number) + 1, t, steps, state)
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


def _diagnosis(state: TrainState, examples: Examples, task: Task, plan: Plan) -> Diagnosis:
    """Diagnose the batch of the step that was not taken."""
    n, batch_size = len(examples), plan.fixed.batch_size
    number, t = divmod(int(state.failed_step), -(-n // batch_size))
    order: Any = epoch_order(n, batch_size, plan.seed, number)
    indices = order[t * batch_size : (t + 1) * batch_size]
    valid = indices[: n - t * batch_size]
    weight = (np.arange(len(indices)) < len(valid)).astype(np.float32)
    batch = as_arrays(_training_rows(examples)[indices])
    if batch.weight is not None:
        weight = weight * batch.weight
    batch = dataclasses.replace(batch, weight=weight)
    epoch = Epoch(batch, order, host_int(n), host_int(number))
    return diagnose(state, batch, valid, (epoch, t), task)


def _finish_epoch(
    epoch: int, state: TrainState, task: Task, held_out: HeldOut | None, plan: Plan
) -> tuple[EpochMetrics, TrainState]:
    """Evaluate the held-out set, keep the best weights, and reset the totals."""
    end = EpochEnd(
        task.static,
        plan.fixed.preparation,
        held_out,
        keeps_last=plan.rescues > 0,
        seed=host_int(plan.seed),
        number=host_int(epoch),
    )
    state, summary = end_epoch(end, state)
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
