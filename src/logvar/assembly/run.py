"""Assemble a run from a recipe and data."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import numpy as np

from logvar import priors, scales
from logvar.assembly.cautions import cautions
from logvar.assembly.decisions import Decisions, decide
from logvar.assembly.labelled import Shares, check_objective, with_classifier
from logvar.assembly.parts import Classes, check_fit, get, specs
from logvar.assembly.plan import build_plan
from logvar.assembly.pseudo_inputs import TrainingRows, encoder_inputs, encoder_shape
from logvar.assembly.reading import dtype_of, preparation, read, units_of
from logvar.assembly.start import Start
from logvar.backend.precision import Precision, products_round_on_request
from logvar.backend.sparse import Rows
from logvar.data.conditions import Conditions, Told
from logvar.data.examples import Examples, Units
from logvar.data.labels import Labels
from logvar.data.preparation import Preparation, has_missing
from logvar.data.sampled import sample_of
from logvar.data.standardization import Standardization
from logvar.data.table.form import TableForm
from logvar.data.table.units import TableUnits
from logvar.data.windows import Window
from logvar.errors import LogvarError
from logvar.likelihoods import Likelihood
from logvar.models.heads import with_later_heads_at_zero
from logvar.models.vae import VAEModel
from logvar.networks import Network, Shapes
from logvar.networks.checks import check_decoder, check_encoder
from logvar.objectives import Objective
from logvar.objectives.base import with_inputs
from logvar.objectives.comparing import check_batches
from logvar.randomness import Purpose, stream
from logvar.recipe import Recipe
from logvar.rescaling.initial_sigma import chosen_sigma, starting_at
from logvar.rescaling.matching import coordinates, matched
from logvar.training.loop import Plan
from logvar.training.state import partition


@dataclasses.dataclass(frozen=True)
class Own:
    """Parts that the user passes as objects, which a recipe cannot store."""

    encoder: Network | None = None
    decoder: Network | None = None
    optimizer: Any = None
    learning_rate: Any = None
    classes: Classes = ()
    """The classes of parts that the recipe names by class."""

    def __post_init__(self) -> None:
        if (self.encoder is None) != (self.decoder is None):
            given, missing = (
                ("encoder", "decoder") if self.decoder is None else ("decoder", "encoder")
            )
            raise LogvarError(f"only the {given} was given: give the {missing} too")


def build_model(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own = Own(),
    *,
    units: Units | None = None,
    condition_size: int = 0,
    training: TrainingRows | None = None,
    shares: Shares | None = None,
) -> VAEModel:
    """Build the untrained model; its weights are a function of the recipe's seed.

    Args:
        recipe: the recipe of the run.
        decisions: the choices of "auto".
        shape: the shape of one example.
        own: parts passed as objects.
        units: how the model reads rows.
        condition_size: the number of values in a condition; 0 if there is none.
        training: the training rows, for priors that start at some of them.
        shares: of the labels, if the model is to learn them.

    Raises:
        LogvarError: the user's own network does not fit the data, or parts do not fit together.
    """
    model = _model(recipe, decisions, shape, own, units, condition_size, shares, training)
    model = eqx.tree_at(
        lambda model: model.encoder,
        model,
        with_later_heads_at_zero(model.encoder, model.posterior.heads(model.latent_dim)),
    )
    # A matched run starts as its reference would; `matched` then changes coordinates.
    scale = recipe.training.match or recipe.model.scale
    asked = recipe.model.initial_sigma
    found = get("scale", scale, own.classes)
    sigma = chosen_sigma(asked, found if scales.initial_sigma(scale) is None else scale)
    if sigma is None:
        return model
    return starting_at(model, sigma, found, required=not isinstance(asked, str))


def skeleton(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own = Own(),
    units: Units | None = None,
    condition_size: int = 0,
    classes: int = 0,
) -> VAEModel:
    """Return the model with shapes instead of its networks' weights, to be filled from a file."""
    shares = Shares.unknown(classes) if classes else None
    return _model(recipe, decisions, shape, own, units, condition_size, shares, None, drawn=False)


def _model(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own,
    units: Units | None,
    condition_size: int,
    shares: Shares | None,
    training: TrainingRows | None,
    drawn: bool = True,
) -> VAEModel:
    without_label = condition_size
    condition_size += 0 if shares is None else len(shares.log_prior)
    parts = specs(recipe, own.classes)
    check_fit(parts)
    spec = get("likelihood", decisions.likelihood, own.classes)
    if isinstance(units, TableUnits):
        likelihood: Likelihood = spec.build_for(units)
    else:
        likelihood = spec.build(shape, 0.0 if units is None else units.log_factor)
    seen = encoder_shape(likelihood, shape, decisions.missing, condition_size)
    # What the decoder's outputs are shaped like: an image stays one beside a mask or a condition.
    x = encoder_shape(likelihood, shape, missing=False)
    # The decoder sees the condition, and not the latents that the likelihood reads itself.
    seed, further = recipe.training.random_state, condition_size - likelihood.latents
    latent_dim = recipe.model.latent_dim + likelihood.latents
    if own.encoder is not None and own.decoder is not None:
        encoder, decoder = own.encoder, own.decoder
        latent_dim = check_encoder(encoder, seen, parts.posterior.heads)
        parts.posterior.check(latent_dim)
        check_decoder(decoder, latent_dim + further, likelihood.output_shape(shape), shape)
    else:
        parts.posterior.check(latent_dim)
        outputs = sum(parts.posterior.heads(latent_dim).values())
        shapes = Shapes(seen, outputs, latent_dim + further, likelihood.output_shape(shape), x)
        network = get("network", decisions.network, own.classes)
        build = functools.partial(network.build, shapes, stream(seed, Purpose.WEIGHTS))
        encoder, decoder = build() if drawn else eqx.filter_eval_shape(build)
    if parts.prior.reads_encoder and condition_size:
        raise LogvarError(
            f"prior {priors.describe(parts.prior)!r} encodes pseudo-inputs, which have no "
            "condition: use prior='mixture(components=10)' in a conditional model"
        )
    posterior = parts.posterior.build(latent_dim, stream(seed, Purpose.POSTERIOR))
    rows = training if drawn else TrainingRows()
    inputs = encoder_inputs(likelihood, x, rows, seed, condition_size)
    prior = parts.prior.build(latent_dim, stream(seed, Purpose.PRIOR), inputs)
    model = VAEModel(
        encoder=encoder,
        decoder=decoder,
        prior=prior,
        likelihood=likelihood,
        posterior=posterior,
        latent_dim=latent_dim,
        missing=decisions.missing,
        condition_size=condition_size,
    )
    if shares is None:
        return model
    read = encoder_shape(likelihood, shape, decisions.missing, without_label)
    shapes = Shapes(read, 0, latent_dim, likelihood.output_shape(shape), x)
    return with_classifier(model, shares, decisions.network, own.classes, seed, shapes, drawn)


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that training needs, built from a recipe and rows."""

    recipe: Recipe
    decisions: Decisions
    prepared: Preparation
    model: VAEModel
    coordinates: Any
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
    conditions: Conditions | None = None
    """The conditions of the model, if it has any."""
    labels: Labels | None = None
    """The labels that are learned."""
    window: Window | None = None
    """How many rows are shuffled at a time."""


def build_run(
    recipe: Recipe,
    rows: Rows,
    validation: Rows | None,
    own: Own = Own(),
    *,
    sample_weight: np.ndarray | None = None,
    held_out_weight: np.ndarray | None = None,
    table: TableForm | None = None,
    told: Told | None = None,
    label: np.ndarray | None = None,
    labels: Labels | None = None,
    start: Start | None = None,
    window: Window | None = None,
) -> Run:
    """Build a run.

    Args:
        recipe: the recipe of the run.
        rows: training rows.
        validation: rows for early stopping, or None.
        own: parts passed as objects.
        sample_weight: (rows,), how much each row counts in the loss.
        held_out_weight: the same for the held-out ELBO.
        table: the form of the table that the rows are cells of, if they are.
        told: what the model is told of each row.
        label: (rows,) int32, the number of each row's label, −1 if unknown; to be learned.
        labels: what these labels are.
        start: the run that gives weights and units, if training starts from one.
        window: how many rows are shuffled at a time; all if it is not given.

    Raises:
        LogvarError: the data or a setting is invalid.
    """
    custom = own.encoder is not None
    objective: Objective = get("objective", recipe.objective.objective, own.classes)
    check_objective(objective, start, labels=labels is not None, own_networks=custom)
    seed = recipe.training.random_state
    sample = sample_of(rows, seed, window)
    if start is None:
        decisions = decide(
            recipe,
            rows,
            validation,
            custom_networks=custom,
            own=own.classes,
            table=table,
            sample=sample,
        )
    else:
        decisions = start.decisions_for(own.classes, rows, validation)
    rounds = recipe.training.precision == Precision.BFLOAT16.value
    if rounds and custom and not products_round_on_request():
        raise LogvarError(
            "precision 'bfloat16' has no effect on your own networks on a CPU: "
            "use precision='float32', a built-in network, or an accelerator"
        )
    if start is None:
        found = units_of(recipe, decisions, rows, own.classes, table, sample)
    else:
        found = start.units_for(rows)
    if isinstance(found, Standardization) and found.note:
        decisions = dataclasses.replace(decisions, notes=(*decisions.notes, found.note))
    prepared = preparation(recipe, decisions, found)
    if start is not None and any(has_missing(x) for x in (rows, validation) if x is not None):
        prepared = dataclasses.replace(prepared, missing=True)
    conditions = None if told is None else told.form
    size = 0 if conditions is None else conditions.size
    shares = Shares.of(label, sample_weight, labels)
    del sample
    of_start = TrainingRows(
        rows.shape[0],
        lambda some: read(rows[some], prepared, seed, found, keyed=False).values,
        prepared.after_fixing,
    )

    def build(size: int) -> VAEModel:
        shape = rows.shape[1:]
        return build_model(
            recipe,
            decisions,
            shape,
            own,
            units=found,
            condition_size=size,
            shares=shares,
            training=of_start,
        )

    if start is None:
        model = build(size)
        in_coordinates = coordinates(model)
    else:
        model, in_coordinates = start.model_for(recipe, size, conditions, build)
    if recipe.training.match:
        model, in_coordinates = matched(model, recipe.training.match)
    check_batches(objective, recipe.objective.objective, len(rows), recipe.training.batch_size)
    some = 0 if validation is None else len(validation)
    notes = (*decisions.notes, *cautions(recipe, objective, len(rows), some))
    decisions = dataclasses.replace(decisions, notes=notes)
    plan = build_plan(recipe, prepared.after_fixing, objective, own.optimizer, own.learning_rate)
    plan.optimizer.check(partition(model)[0])
    # Only fitting a closed-form noise needs noise that is keyed by the rows' bytes.
    examples = read(rows, prepared, seed, found, keyed=model.likelihood.has_statistic)
    condition = None if told is None else told.rows
    examples = dataclasses.replace(examples, weight=sample_weight, condition=condition, label=label)
    held_out = None
    if validation is not None:
        held_out = read(validation, prepared, seed, found)
        condition = None if told is None else told.held_out
        held_out = dataclasses.replace(held_out, weight=held_out_weight, condition=condition)
    return Run(
        recipe,
        decisions,
        prepared,
        model,
        in_coordinates,
        found,
        examples,
        held_out,
        with_inputs(objective),
        plan,
        dtype_of(rows, found),
        rows.shape[1:],
        table,
        conditions,
        labels,
        window,
    )
