"""An experiment: which models are trained, on which rows, and the results of each."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logvar import assembly, scales
from logvar.backend.sparse import Rows as SomeRows
from logvar.backend.sparse import joined
from logvar.data.conditions import Told
from logvar.data.examples import Examples
from logvar.data.order import split
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError, unknown_name
from logvar.recipe import Recipe
from logvar.study.arms import ARMS, AS_IS, MATCHED, first_raw, start_arm
from logvar.study.measuring import Measured, measure
from logvar.training.extras import initial_extras
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import TrainedMember, shares_for, train_fleet
from logvar.training.schedules import Length
from logvar.training.state import initial_state, partition
from logvar.training.step import Epoch, Hyper, Keys, Task, step

AT_ONCE = 16
"""Members of one fleet. More gain little on a CPU, and after a kill only one fleet is repeated."""
MEMORY = 2 * 1024**3
"""The bytes that a fleet may take, by an upper bound."""
OWN = (
    "scale", "learning_rate", "random_state", "initial_sigma", "match", "validation_fraction",
    "on_divergence", "from_run", "window", "shards",
)  # fmt: skip
"""Settings that the experiment sets itself."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The settings of a comparison: what is compared, and how it is judged."""

    scales: tuple[str, ...]
    """The first is the reference."""
    learning_rates: tuple[float, ...]
    seeds: int
    arms: tuple[str, ...]
    margin: float
    """Nats per example that count as no difference."""
    level: float
    """Confidence that all intervals hold together."""
    splits: int
    test_fraction: float
    validation_fraction: float
    importance_samples: int
    recipe: Recipe
    """All other settings of a run."""
    own: tuple[type, ...] = ()
    """The user's own classes of parts that the recipe names."""
    table: TableForm | None = None
    """The form of the table that the rows are cells of, if they are."""
    told: Told | None = None
    """The conditions of each row of X, and of the test rows as those held out."""

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise LogvarError(
                f"seeds is {self.seeds}: expected at least 2, because one run per scale cannot "
                "tell a difference from luck; 8 is a good start"
            )
        found = [scales.describe(scales.get(scale)) for scale in self.scales]
        if len(set(found)) < 2 or len(set(found)) < len(found):
            raise LogvarError(
                f"scales are {', '.join(self.scales)}: expected at least two different ones, the "
                "reference first"
            )
        for arm in self.arms:
            if arm not in ARMS:
                raise unknown_name("arm", arm, ARMS)
        if not self.arms:
            raise LogvarError(f"arms is empty: expected some of {', '.join(ARMS)}")
        rates = self.learning_rates
        if not rates or not all(0 < rate < math.inf for rate in rates):
            raise LogvarError(f"learning_rates are {rates}: expected positive numbers")
        if len(set(rates)) < len(rates):
            raise LogvarError(f"learning_rates are {rates}: one is given twice")
        for name in ("margin", "level", "test_fraction", "validation_fraction"):
            value, high = getattr(self, name), math.inf if name == "margin" else 1
            if not 0 < value < high:
                raise LogvarError(f"{name} is {value!r}: expected a number between 0 and {high}")
        for name in ("splits", "importance_samples"):
            if getattr(self, name) < 1:
                raise LogvarError(f"{name} is {getattr(self, name)}: expected at least 1")
        if MATCHED in self.arms:
            for scale in self.scales[1:]:
                first_raw(scales.get(scale), scales.get(self.reference))

    @property
    def reference(self) -> str:
        return self.scales[0]

    def arms_of(self, scale: str) -> tuple[str, ...]:
        """Return the arms of a scale; the reference has only "as is", since it matches itself."""
        return (AS_IS,) if scale == self.reference else self.arms

    @property
    def runs(self) -> int:
        """The number of models to train."""
        cells = sum(len(self.arms_of(scale)) for scale in self.scales) * len(self.learning_rates)
        return self.splits * cells * self.seeds


@dataclasses.dataclass(frozen=True)
class Rows:
    """One split: rows to train on, to choose by, and to report on."""

    train: SomeRows
    validation: SomeRows
    test: SomeRows
    told: Told | None = None
    """The conditions of the rows to train on and to choose by."""
    told_of_test: np.ndarray | None = None
    """(test, size), what they are told of the others."""


def rows_of(experiment: Experiment, X: SomeRows, test: SomeRows | None, number: int) -> Rows:
    """Return the split of this number; with only one split, a given test set is used."""
    told = experiment.told
    of_X, of_test = (None, None) if told is None else (told.rows, told.held_out)
    if test is None or experiment.splits > 1:
        everything = X if test is None else joined(X, test)
        kept, held_out = split(len(everything), experiment.test_fraction, number)
        X, test = everything[kept], everything[held_out]
        if of_X is not None:
            of_all = of_X if of_test is None else np.concatenate([of_X, of_test])
            of_X, of_test = of_all[kept], of_all[held_out]
    trained, chosen_by = split(len(X), experiment.validation_fraction, number)
    if told is not None:
        assert of_X is not None
        told = Told(told.form, of_X[trained], of_X[chosen_by])
    return Rows(X[trained], X[chosen_by], test, told, of_test)


@dataclasses.dataclass(frozen=True)
class Unit:
    """A cell of the experiment, or some of its seeds: trained at once; a kill repeats it whole.

    All units have the same number of members, or one fewer, whatever the scale and the arm. So runs
    that are equal in exact arithmetic come from the same compiled program.
    """

    split: int
    scale: str
    arm: str
    rate: float
    number: int
    seeds: tuple[int, ...]
    shares: int
    """The equal parts of its fleet (`fleet.train.shares_for`). They are part of the plan, because
    the last bits depend on their number, and a worker has another number of cores."""

    @property
    def name(self) -> str:
        return f"{self.split}-{self.scale}-{self.arm}-{self.rate:g}-{self.number}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of a unit: a row of the table for each run, and the ELBO of each test row."""

    runs: list[dict[str, Any]]
    row_elbos: np.ndarray
    curves: list[dict[str, Any]]
    seconds: float


def units(experiment: Experiment, X: SomeRows, test: SomeRows | None) -> Iterator[Unit]:
    """Yield all units in the order they run in: a function of the experiment and the data."""
    size = min(AT_ONCE, members_that_fit(experiment, rows_of(experiment, X, test, 0)))
    parts = np.array_split(np.arange(experiment.seeds), -(-experiment.seeds // size))
    for number in range(experiment.splits):
        for scale in experiment.scales:
            for arm in experiment.arms_of(scale):
                for rate in experiment.learning_rates:
                    for part, seeds in enumerate(parts):
                        own = tuple(map(int, seeds))
                        yield Unit(number, scale, arm, rate, part, own, shares_for(len(own)))


def run_unit(
    experiment: Experiment,
    rows: Rows,
    unit: Unit,
    on_epoch: Callable[[int, int], None] = lambda epoch, training: None,
) -> Outcome:
    """Train and measure the runs of a unit."""
    scale, reference = scales.get(unit.scale), scales.get(experiment.reference)
    # The members share what seed 0 has: rows, whose static binarization depends on a seed, too.
    shared = _build(experiment, rows, 0)
    training = assembly.TrainingRows(
        len(shared.rows), lambda some: shared.rows.values[some], shared.prepared.after_fixing
    )
    members = []
    for seed in unit.seeds:
        fresh = assembly.build_model(
            _recipe(experiment, seed), shared.decisions, shared.shape, _own(experiment),
            units=shared.units, training=training, condition_size=shared.model.condition_size,
        )  # fmt: skip
        model, in_coordinates = start_arm(fresh, scale, reference, unit.arm)
        members.append(Member(model, in_coordinates, seed, unit.rate))
    started = time.perf_counter()
    raised = train_fleet(
        members,
        shared.rows,
        held_out(shared),
        shared.objective,
        shared.plan,
        shares=unit.shares,
        on_epoch=on_epoch,
    )
    seconds = time.perf_counter() - started
    lines, elbos, curves = [], [], []
    for seed, member in zip(unit.seeds, raised, strict=True):
        figures, row_elbos = _measured(experiment, rows, shared, member, reference, seed)
        run = _run(experiment, unit, seed)
        lines.append(run | _ending(member) | figures._asdict())
        curves += [run | entry for entry in member.curve]
        elbos.append(row_elbos)
    return Outcome(lines, np.stack(elbos), curves, seconds)


def _build(experiment: Experiment, rows: Rows, seed: int) -> assembly.Run:
    """Build the parts of a run with unchanged raw outputs, under the reference's name."""
    own = _own(experiment)
    recipe = _recipe(experiment, seed)
    data = assembly.TrainingData(
        rows.train, rows.validation, table=experiment.table, told=rows.told
    )
    return assembly.build_run(recipe, data, own)


def _own(experiment: Experiment) -> assembly.Own:
    return assembly.Own(classes=experiment.own)


def _recipe(experiment: Experiment, seed: int) -> Recipe:
    return experiment.recipe.replace(
        scale=experiment.reference, initial_sigma="as-is", match="", random_state=seed
    ).checked()


def held_out(run: assembly.Run) -> Examples:
    """Return the rows to choose by; an experiment always has some."""
    assert run.validation is not None
    return run.validation


def _measured(
    experiment: Experiment,
    rows: Rows,
    run: assembly.Run,
    member: TrainedMember,
    reference: scales.Scale,
    seed: int,
) -> tuple[Measured, np.ndarray]:
    if member.failed_step:
        # A failed run has no figures: those of its best weights would flatter it.
        nothing = {field: math.nan for field in Measured._fields}
        return Measured(**nothing), np.full(len(rows.test), np.nan, np.float32)  # type: ignore[arg-type]
    test = assembly.read(rows.test, run.prepared, 0, run.units)
    return measure(
        member.model,
        reference,
        dataclasses.replace(test, condition=rows.told_of_test),
        run.prepared.after_fixing,
        run.objective,
        seed=seed,
        importance_samples=experiment.importance_samples,
        analytic_kl=run.objective.analytic_kl,
    )


def _run(experiment: Experiment, unit: Unit, seed: int) -> dict[str, Any]:
    """Return what identifies a run: the first columns of the tables."""
    return {
        "scale": unit.scale,
        "arm": unit.arm,
        "optimizer": experiment.recipe.training.optimizer,
        "learning_rate": unit.rate,
        "seed": seed,
        "split": unit.split,
    }


def _ending(member: TrainedMember) -> dict[str, Any]:
    return {
        "diverged": bool(member.failed_step),
        "diverged_at_step": member.failed_step,
        "ended": member.ended,
        "epochs": len(member.curve),
        "best_epoch": member.best_epoch,
        "validation_elbo": math.nan if member.failed_step else member.best_elbo,
    }


def members_that_fit(experiment: Experiment, rows: Rows) -> int:
    """Return how many models fit a fleet's memory, by an upper bound from the compiled step."""
    run = _build(experiment, rows, 0)
    return max(1, int(MEMORY // _bytes_of_a_member(run)))


def _bytes_of_a_member(run: assembly.Run) -> int:
    """Return the bytes that one step of one member reads and writes, as if none were reused."""
    plan = run.plan
    rates = plan.schedule.rates(plan.schedule.rate, Length(plan.epochs, 1))
    average = jnp.asarray(plan.average_weights) if plan.averages else None
    hyper = Hyper(rates, jnp.zeros(()), jnp.zeros((), jnp.int32), average)
    static = partition(run.model)[1]
    task = Task(static, run.objective, plan.optimizer, run.coordinates, hyper, plan.fixed)
    extras = initial_extras(run.objective, run.model.latent_dim, plan.seed)
    state = initial_state(run.model, plan.optimizer, run.coordinates, extras, plan.averages)
    size = plan.fixed.batch_size
    of_rows = jax.tree.map(lambda a: jnp.zeros((size, *a.shape[1:]), a.dtype), run.rows.stored)
    batch = dataclasses.replace(of_rows, weight=jnp.ones(size))
    keys = Keys.of_epoch(hyper.seed, jnp.asarray(0))
    epoch = Epoch(batch, jnp.arange(size), jnp.asarray(size), jnp.asarray(0))
    one = jax.jit(lambda state, batch: step(state, batch, keys, task, epoch))
    cost = one.lower(state, batch).cost_analysis() or {}
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    # Not every backend reports what a program reads and writes; weights are most of it.
    return int(2 * held + cost.get("bytes accessed", 8 * held))
