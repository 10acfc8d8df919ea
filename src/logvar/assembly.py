"""From a recipe and data to the parts of a run."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jax.typing import ArrayLike

from logvar import scales
from logvar.backend.precision import Precision, products_round_on_request
from logvar.data.examples import Examples, examples_of, standardized
from logvar.data.preparation import Preparation, as_float32
from logvar.data.standardization import Standardization
from logvar.decisions import Decisions, decide
from logvar.distributions import registry as likelihoods
from logvar.distributions.priors import StandardNormal
from logvar.distributions.registry import FAMILIES, NoiseSettings
from logvar.errors import LogvarError, unknown_name
from logvar.model import Model
from logvar.networks import registry as networks
from logvar.objectives import ELBO, OBJECTIVES, ImportanceWeighted, Objective
from logvar.randomness import Purpose, stream
from logvar.recipe import Recipe, TrainingSettings
from logvar.training import optimizers, schedules
from logvar.training.initial_sigma import chosen_sigma, starting_at
from logvar.training.loop import Plan
from logvar.training.matching import coordinates, matched
from logvar.training.state import partition
from logvar.training.step import Fixed

RESCUES = 3
"""How often a run with on_divergence="rescue" goes back before it stops."""


def standardization(
    recipe: Recipe, decisions: Decisions, rows: np.ndarray
) -> Standardization | None:
    """How a likelihood of real values reads rows, from those it is trained on; others read them as
    they are."""
    if decisions.likelihood not in FAMILIES:
        return None
    return Standardization.of_rows(rows, noise=0.5 if recipe.data.dequantize else 0.0)


def preparation(
    recipe: Recipe, decisions: Decisions, standardization: Standardization | None = None
) -> Preparation:
    """How the rows of this run become inputs."""
    plain = Preparation(decisions.divisor, recipe.data.binarization, recipe.data.dequantize)
    if standardization is None or not plain.dequantize:
        return plain
    return dataclasses.replace(plain, level=(1 / standardization.factor).astype(np.float32))


def _likelihood(
    recipe: Recipe, name: str, shape: tuple[int, ...], log_factor: ArrayLike = 0.0
) -> likelihoods.Likelihood:
    settings = recipe.model
    noise = NoiseSettings(
        settings.noise,
        settings.noise_sigma,
        settings.noise_scale,
        settings.noise_floor,
        settings.degrees_of_freedom,
    )
    return likelihoods.build(name, shape, noise, log_factor)


def build_model(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    encoder: networks.Network | None = None,
    decoder: networks.Network | None = None,
    *,
    standardization: Standardization | None = None,
) -> Model:
    """Build the untrained model; its weights are a function of the recipe's seed.

    Raises:
        LogvarError: a user's own network does not fit the data, or only one was given.
    """
    log_factor = 0.0 if standardization is None else standardization.log_factor
    likelihood = _likelihood(recipe, decisions.likelihood, shape, log_factor)
    encoder, decoder = _networks(recipe, decisions, shape, encoder, decoder, likelihood.heads)
    model = _model(recipe, encoder, decoder, likelihood)
    # A matched run starts as its reference would: `matched` then changes coordinates.
    scale = recipe.training.match or recipe.model.scale
    asked = recipe.model.initial_sigma
    sigma = chosen_sigma(asked, scale)
    if sigma is None:
        return model
    return starting_at(model, sigma, scales.get(scale), required=not isinstance(asked, str))


def skeleton(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    encoder: networks.Network | None = None,
    decoder: networks.Network | None = None,
) -> Model:
    """The model with shapes in place of weights, to be filled from a file."""
    likelihood = _likelihood(recipe, decisions.likelihood, shape)
    shapes: Any = eqx.filter_eval_shape(
        lambda: _networks(recipe, decisions, shape, encoder, decoder, likelihood.heads)
    )
    return _model(recipe, shapes[0], shapes[1], likelihood)


def _networks(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    encoder: networks.Network | None,
    decoder: networks.Network | None,
    heads: int,
) -> tuple[networks.Network, networks.Network]:
    """The user's own networks, checked against the data, or built ones."""
    if (encoder is None) != (decoder is None):
        given, missing = ("encoder", "decoder") if decoder is None else ("decoder", "encoder")
        raise LogvarError(f"only the {given} was given: give the {missing} too")
    if encoder is None or decoder is None:
        key = stream(recipe.training.random_state, Purpose.WEIGHTS)
        settings = recipe.model
        return networks.build(
            decisions.network, shape, settings.latent_dim, settings.hidden, key, heads
        )
    networks.check_decoder(decoder, shape, networks.check_encoder(encoder, shape), heads)
    return encoder, decoder


def _model(
    recipe: Recipe,
    encoder: networks.Network,
    decoder: networks.Network,
    likelihood: likelihoods.Likelihood,
) -> Model:
    return Model(encoder, decoder, StandardNormal(), likelihood, scales.get(recipe.model.scale))


def build_objective(recipe: Recipe, steps_per_epoch: int) -> Objective:
    """Build the objective.

    Raises:
        LogvarError: the name is unknown, or a setting belongs to another objective.
    """
    settings = recipe.objective
    if settings.objective == "elbo":
        return ELBO(
            beta=settings.beta,
            warmup_steps=settings.beta_warmup * steps_per_epoch,
            free_bits=settings.free_bits,
            analytic_kl=settings.analytic_kl,
            n_samples=settings.n_samples,
        )
    if settings.objective == "iwae":
        if settings.beta != 1 or settings.beta_warmup or settings.free_bits:
            raise LogvarError(
                "objective 'iwae' has no separate KL: leave beta, beta_warmup and free_bits at "
                "their defaults, or use objective='elbo'"
            )
        return ImportanceWeighted(n_samples=settings.n_samples)
    raise unknown_name("objective", settings.objective, OBJECTIVES)


def written(optimizer: Any, learning_rate: Any) -> dict[str, Any]:
    """Optimizer and learning rate as a recipe holds them: a number or text, "custom" for objects.

    Raises:
        LogvarError: there is no such optimizer or schedule, or a setting does not fit.
    """
    if not isinstance(learning_rate, int | float):
        learning_rate = schedules.written(learning_rate)
    return {"optimizer": optimizers.describe(optimizer), "learning_rate": learning_rate}


def build_plan(
    recipe: Recipe, prepared: Preparation, optimizer: Any = None, learning_rate: Any = None
) -> Plan:
    """Everything else the loop needs.

    Args:
        recipe: of the run.
        prepared: what is left to do to each batch.
        optimizer: the recipe's, or the object that it names "custom".
        learning_rate: likewise.
    """
    settings = recipe.training
    rule = optimizers.get(settings.optimizer if optimizer is None else optimizer).build()
    rate = settings.learning_rate if learning_rate is None else learning_rate
    if rule.has_own_rate:
        if settings.learning_rate != TrainingSettings().learning_rate:
            raise LogvarError(
                f"learning_rate is {settings.learning_rate!r}, and the optimizer is an object that "
                "has a learning rate of its own: set it there, and leave learning_rate at its "
                "default"
            )
        rate = 1.0
    return Plan(
        epochs=settings.epochs,
        optimizer=rule,
        schedule=schedules.get(rate),
        clip_norm=settings.clip_norm,
        seed=settings.random_state,
        patience=settings.patience,
        patience_starts=int(np.ceil(recipe.objective.beta_warmup)),
        rescues=RESCUES if settings.on_divergence == "rescue" else 0,
        fixed=Fixed(
            settings.batch_size,
            prepared,
            Precision(settings.precision),
        ),
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything training needs, built from a recipe and rows."""

    recipe: Recipe
    decisions: Decisions
    prepared: Preparation
    model: Model
    coordinates: Any
    standardization: Standardization | None
    rows: Examples
    validation: Examples | None
    objective: Objective
    plan: Plan
    latent_dim: int
    dtype: str
    """What holds the values of rows in the data's own units: uint8, float32 or float64."""


def build_run(
    recipe: Recipe,
    rows: np.ndarray,
    validation: np.ndarray | None,
    encoder: networks.Network | None = None,
    decoder: networks.Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
) -> Run:
    """Build a run; networks, optimizer and learning rate may be objects that no recipe can hold.

    Raises:
        LogvarError: the data or a setting do not fit.
    """
    decisions = decide(recipe, rows, custom_networks=encoder is not None)
    if validation is not None:
        as_decided = recipe.replace(likelihood=decisions.likelihood)
        decide(as_decided, validation, custom_networks=True)
    rounds = recipe.training.precision == Precision.BFLOAT16.value
    if rounds and encoder is not None and not products_round_on_request():
        raise LogvarError(
            "precision 'bfloat16' got your own networks on a CPU, which would compute in float32: "
            "use precision='float32', a built-in network, or an accelerator"
        )
    found = standardization(recipe, decisions, rows)
    if found is not None and found.note:
        decisions = dataclasses.replace(decisions, notes=(found.note,))
    prepared = preparation(recipe, decisions, found)
    model = build_model(recipe, decisions, rows.shape[1:], encoder, decoder, standardization=found)
    seed = recipe.training.random_state
    into = coordinates(model)
    if recipe.training.match:
        model, into = matched(model, recipe.training.match)
    plan = build_plan(recipe, prepared.after_fixing, optimizer, learning_rate)
    plan.optimizer.check(partition(model)[0])
    return Run(
        recipe,
        decisions,
        prepared,
        model,
        into,
        found,
        # Only a noise in closed form is fitted under noise that the rows' own bytes key.
        read(rows, prepared, seed, found, keyed=model.likelihood.fits_residuals),
        None if validation is None else read(validation, prepared, seed, found),
        build_objective(recipe, -(-len(rows) // recipe.training.batch_size)),
        plan,
        latent_dim(model, rows.shape[1:]),
        _dtype(rows, found),
    )


def _dtype(rows: np.ndarray, standardization: Standardization | None) -> str:
    if rows.dtype == np.uint8:
        return "uint8"
    return "float32" if standardization is None else np.dtype(standardization.dtype).name


def read(
    rows: np.ndarray,
    prepared: Preparation,
    seed: int,
    standardization: Standardization | None,
    *,
    keyed: bool = True,
) -> Examples:
    """Rows as a model reads them.

    Args:
        rows: as they were given, checked.
        prepared: how they become inputs; static binarization is fixed here.
        seed: of that binarization.
        standardization: of the model, where it has one.
        keyed: whether noise will be keyed by their bytes.

    Raises:
        LogvarError: a value is too large for a model that does not standardize.
    """
    if standardization is not None:
        return standardized(rows, standardization, keyed=keyed)
    return examples_of(prepared.fix(as_float32(rows), seed))


def latent_dim(model: Model, shape: tuple[int, ...]) -> int:
    """The number of latents of a model, which a user's own encoder decides."""
    return networks.check_encoder(model.encoder, shape)
