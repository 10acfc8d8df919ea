"""Assemble a run from a recipe and data."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import PyTree

from logvar.assembly.cautions import cautions
from logvar.assembly.decisions import Decisions, decide
from logvar.assembly.labelled import Shares, check_objective
from logvar.assembly.model import Own, build_model
from logvar.assembly.parts import get
from logvar.assembly.plan import build_plan
from logvar.assembly.pseudo_inputs import TrainingRows
from logvar.assembly.reading import dtype_of, preparation, read, units_of
from logvar.assembly.start import Start
from logvar.assembly.training_data import TrainingData
from logvar.backend.precision import Precision, products_round_on_request
from logvar.data.conditions import Conditions
from logvar.data.examples import Examples, Units
from logvar.data.labels import Labels
from logvar.data.preparation import Preparation, has_missing
from logvar.data.sampled import sample_of
from logvar.data.standardization import Standardization
from logvar.data.table.form import TableForm
from logvar.data.windows import Window
from logvar.errors import LogvarError
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.objectives.base import with_inputs
from logvar.objectives.comparing import check_batches
from logvar.processes.placement import Placement
from logvar.recipe import Recipe
from logvar.rescaling.matching import coordinates, matched
from logvar.training.loop import Plan, Trained, train
from logvar.training.state import TrainState, partition
from logvar.training.watching import EpochMetrics, Watcher
from logvar.training.windowed import feed_of


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that training needs, built from a recipe and rows."""

    recipe: Recipe
    decisions: Decisions
    prepared: Preparation
    model: VAEModel
    coordinates: PyTree
    units: Units | None
    rows: Examples
    validation: Examples | None
    objective: Objective
    plan: Plan
    dtype: str
    """The dtype of rows in the data's own units: uint8, float32 or float64."""
    shape: tuple[int, ...]
    """The shape of one example in the data's own units."""
    table: TableForm | None = None
    """The form of the table that the rows are from."""
    features: tuple[str, ...] | None = None
    """The names of the columns, if the rows are no table and yet have names."""
    conditions: Conditions | None = None
    """The conditions of the model, if it has any."""
    labels: Labels | None = None
    """The labels that are learned."""
    window: Window | None = None
    """How many rows are shuffled at a time."""

    def train(
        self,
        watcher: Watcher,
        state: TrainState | None = None,
        history: Sequence[EpochMetrics] = (),
        placement: Placement | None = None,
    ) -> Trained:
        """Train the model.

        Args:
            watcher: observes and controls training.
            state: a saved state to continue from, if it is not the start.
            history: the epochs before it.
            placement: the devices that train together; None if it is one.
        """
        return train(
            self.model,
            self.rows,
            self.validation,
            self.objective,
            self.plan,
            watcher,
            coordinates=self.coordinates,
            state=state,
            history=history,
            feed=feed_of(self.rows, self.plan, self.window, placement),
            placement=placement,
        )


def build_run(
    recipe: Recipe,
    data: TrainingData,
    own: Own = Own(),  # noqa: B008
    start: Start | None = None,
) -> Run:
    """Build a run.

    Args:
        recipe: the recipe of the run.
        data: the training rows, those held out, and what belongs to them.
        own: parts passed as objects.
        start: the run that gives weights and units, if training starts from one.

    Raises:
        LogvarError: the data or a setting is invalid.
    """
    objective = _objective(recipe, data, own, start)
    _check_precision(recipe, own)
    decisions, units = _decided(recipe, data, own, start)
    prepared = _preparation(recipe, data, decisions, units, start)
    model, in_coordinates = _first_model(recipe, data, decisions, units, prepared, own, start)
    rows = len(data.rows)
    check_batches(objective, recipe.objective.objective, rows, recipe.training.batch_size)
    held_out = 0 if data.validation is None else len(data.validation)
    decisions = decisions.noting(*cautions(recipe, objective, rows, held_out))
    plan = build_plan(recipe, prepared.after_fixing, objective, own.optimizer, own.learning_rate)
    plan.optimizer.check(partition(model)[0])
    # Only fitting a closed-form noise needs noise that is keyed by the rows' bytes.
    keyed = model.likelihood.has_statistic
    return Run(
        recipe=recipe,
        decisions=decisions,
        prepared=prepared,
        model=model,
        coordinates=in_coordinates,
        units=units,
        rows=_training_examples(recipe, data, prepared, units, keyed=keyed),
        validation=_held_out_examples(recipe, data, prepared, units),
        objective=with_inputs(objective),
        plan=plan,
        dtype=dtype_of(data.rows, units),
        shape=data.rows.shape[1:],
        table=data.table,
        features=data.features,
        conditions=None if data.told is None else data.told.form,
        labels=data.labels,
        window=data.window,
    )


def _objective(recipe: Recipe, data: TrainingData, own: Own, start: Start | None) -> Objective:
    """Return the objective, after checking that it fits models with or without labels."""
    objective: Objective = get("objective", recipe.objective.objective, own.classes)
    labels, own_networks = data.labels is not None, own.encoder is not None
    check_objective(objective, start, labels=labels, own_networks=own_networks)
    return objective


def _check_precision(recipe: Recipe, own: Own) -> None:
    """Check that this processor rounds the products of the user's own networks if asked to."""
    rounds = recipe.training.precision == Precision.BFLOAT16.value
    if rounds and own.encoder is not None and not products_round_on_request():
        raise LogvarError(
            "precision 'bfloat16' has no effect on your own networks on a CPU: "
            "use precision='float32', a built-in network, or an accelerator"
        )


def _decided(
    recipe: Recipe, data: TrainingData, own: Own, start: Start | None
) -> tuple[Decisions, Units | None]:
    """Return the choices of "auto" and the model's units, from the data or from an earlier run."""
    if start is not None:
        decisions = start.decisions_for(own.classes, data.rows, data.validation)
        units = start.units_for(data.rows)
    else:
        sample = sample_of(data.rows, recipe.training.random_state, data.window)
        decisions = decide(
            recipe,
            data.rows,
            data.validation,
            custom_networks=own.encoder is not None,
            own=own.classes,
            table=data.table,
            sample=sample,
        )
        units = units_of(recipe, decisions, data.rows, own.classes, data.table, sample)
    if isinstance(units, Standardization) and units.note:
        decisions = decisions.noting(units.note)
    return decisions, units


def _preparation(
    recipe: Recipe,
    data: TrainingData,
    decisions: Decisions,
    units: Units | None,
    start: Start | None,
) -> Preparation:
    """Return how rows become inputs; these may have missing cells where an earlier run had none."""
    prepared = preparation(recipe, decisions, units)
    some = (data.rows, data.validation)
    if start is not None and any(has_missing(rows) for rows in some if rows is not None):
        return dataclasses.replace(prepared, missing=True)
    return prepared


def _first_model(
    recipe: Recipe,
    data: TrainingData,
    decisions: Decisions,
    units: Units | None,
    prepared: Preparation,
    own: Own,
    start: Start | None,
) -> tuple[VAEModel, PyTree]:
    """Return the model as training starts with it, and the coordinates to train it in."""
    rows, seed = data.rows, recipe.training.random_state
    shares = Shares.of(data.label, data.weight, data.labels)
    of_start = TrainingRows(
        rows.shape[0],
        lambda some: read(rows[some], prepared, seed, units, keyed=False).values,
        prepared.after_fixing,
    )

    def build(condition_size: int) -> VAEModel:
        return build_model(
            recipe,
            decisions,
            rows.shape[1:],
            own,
            units=units,
            condition_size=condition_size,
            shares=shares,
            training=of_start,
        )

    conditions = None if data.told is None else data.told.form
    size = 0 if conditions is None else conditions.size
    if start is None:
        model = build(size)
        in_coordinates = coordinates(model)
    else:
        model, in_coordinates = start.model_for(recipe, size, conditions, build)
    if recipe.training.match:
        model, in_coordinates = matched(model, recipe.training.match)
    return model, in_coordinates


def _training_examples(
    recipe: Recipe,
    data: TrainingData,
    prepared: Preparation,
    units: Units | None,
    *,
    keyed: bool,
) -> Examples:
    examples = read(data.rows, prepared, recipe.training.random_state, units, keyed=keyed)
    condition = None if data.told is None else data.told.rows
    return dataclasses.replace(examples, weight=data.weight, condition=condition, label=data.label)


def _held_out_examples(
    recipe: Recipe, data: TrainingData, prepared: Preparation, units: Units | None
) -> Examples | None:
    if data.validation is None:
        return None
    examples = read(data.validation, prepared, recipe.training.random_state, units)
    condition = None if data.told is None else data.told.held_out
    return dataclasses.replace(examples, weight=data.held_out_weight, condition=condition)
