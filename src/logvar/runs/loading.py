"""Load trained models from run folders."""

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from logvar import assembly
from logvar.assembly import Own
from logvar.assembly.decisions import CUSTOM_NETWORK, Decisions
from logvar.assembly.parts import get, is_auto, resolved, without_unused
from logvar.data.examples import Units
from logvar.data.standardization import Standardization
from logvar.errors import LogvarError
from logvar.fitted import Fitted
from logvar.models.vae import VAEModel
from logvar.networks import Network
from logvar.recipe import Recipe
from logvar.rescaling.matching import coordinates
from logvar.runs.units import read_conditions, read_features, read_table_form, read_units
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, newest_checkpoint
from logvar.storage.weights import load_arrays, load_named
from logvar.trainable import without_settings
from logvar.training import optimizers
from logvar.training.extras import initial_extras
from logvar.training.state import TrainState, initial_state


def load_fitted(
    path: str | os.PathLike,
    *,
    encoder: Network | None = None,
    decoder: Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    parts: Collection[type] = (),
) -> Fitted:
    """Load a `Fitted` from a run folder, without running any code from it.

    The arguments are those of `logvar.load`.

    Raises:
        LogvarError: the folder is not a complete run, a file was changed, the format is another,
            or the objects do not fit.
    """
    folder = Path(path)
    manifest = run_folder.read_manifest(folder)
    recipe = Recipe.from_toml(run_folder.read_recipe(folder))
    if manifest.format == 1:
        used = {
            kind: without_unused(kind, getattr(recipe.model, kind), getattr(manifest, kind))
            for kind in ("likelihood", "network")
        }
        recipe = recipe.replace(**used)
    if manifest.custom and encoder is None:
        raise LogvarError(
            f"{folder} holds a run with custom networks ({manifest.custom.get('encoder')}, "
            f"{manifest.custom.get('decoder')}): pass logvar.load(path, encoder=…, decoder=…) with "
            "modules of the same structure"
        )
    weights = folder / run_folder.WEIGHTS
    if math.prod(manifest.shape) > max(weights.stat().st_size, 1 << 20):
        raise LogvarError(
            f"{folder}: examples of shape {manifest.shape} do not go with weights of "
            f"{weights.stat().st_size} bytes; the manifest was changed"
        )
    own = Own(encoder, decoder, optimizer, learning_rate, tuple(parts))
    decisions = _decisions(manifest, recipe)
    # A rescue may have bounded the scale; the recipe to repeat the run does not have these bounds.
    of_weights = recipe.replace(scale=manifest.scale or recipe.model.scale)
    table = read_table_form(folder, manifest)
    units = read_units(folder, manifest, table)
    conditions = read_conditions(folder, manifest)
    size = 0 if conditions is None else conditions.size
    skeleton = assembly.skeleton(of_weights, decisions, manifest.shape, own, units, size)
    standardizes = get("likelihood", decisions.likelihood, own.classes).standardizes
    model, units = _weights_of(folder, manifest, skeleton, units, standardizes)
    return Fitted(
        recipe,
        decisions,
        model,
        assembly.preparation(recipe, decisions, units),
        units,
        manifest.shape,
        manifest.dtype,
        run_folder.read_lines(folder / run_folder.METRICS),
        manifest.ended,
        manifest.data,
        own,
        diagnosis=manifest.diagnosis or None,
        rescues=manifest.rescues,
        table=table,
        features=read_features(folder, manifest),
        conditions=conditions,
    )


def _decisions(manifest: run_folder.Manifest, recipe: Recipe) -> Decisions:
    """Return what "auto" chose.

    Runs of version 0.1 recorded names only; their settings are those of the recipe.
    """
    texts = {"likelihood": manifest.likelihood, "network": manifest.network}
    for kind, text in texts.items():
        asked = getattr(recipe.model, kind)
        if "(" in text or "(" not in asked or text == CUSTOM_NETWORK:
            continue
        texts[kind] = resolved(kind, asked, text) if is_auto(asked) else asked
    return Decisions(
        texts["likelihood"],
        texts["network"],
        float(manifest.divisor),
        (),
        missing=manifest.missing,
        bits=manifest.bits or (manifest.dtype == "uint8" and manifest.divisor == 1),
    )


def _weights_of(
    folder: Path,
    manifest: run_folder.Manifest,
    whole: VAEModel,
    units: Units | None,
    standardizes: bool,
) -> tuple[VAEModel, Units | None]:
    """Return the model of a run folder, and its units."""
    weights = folder / run_folder.WEIGHTS
    skeleton, settings = without_settings(whole)

    def loaded(skeleton: VAEModel, names: tuple[str, ...] = ()) -> VAEModel:
        # Runs of version 0.1 also saved arrays that are now settings of a scale.
        return load_arrays(weights, skeleton, apart=names, ignored=("scale.",))

    if units is not None or not standardizes:
        return eqx.combine(loaded(skeleton), settings), units
    # A run of logvar 0.1: kept in float32, inside the model.
    names = ("likelihood.shift", "likelihood.factor")
    shift, factor = load_named(weights, names, manifest.shape).values()
    rows = manifest.data.get("rows", 0)
    standardization = Standardization.of_float32(shift, factor, rows if type(rows) is int else 0)
    known = eqx.tree_at(_log_factor, skeleton, None)
    model = eqx.combine(loaded(known, names), settings)
    log_factor = jnp.asarray(standardization.log_factor, jnp.float32)
    return (
        eqx.tree_at(_log_factor, model, log_factor, is_leaf=lambda leaf: leaf is None),
        standardization,
    )


def _log_factor(model: VAEModel) -> Any:
    return model.likelihood.log_factor  # type: ignore[attr-defined]


def load_state(fitted: Fitted, path: str | os.PathLike) -> TrainState | None:
    """Load the saved training state of a run folder, to continue its run.

    Raises:
        LogvarError: the state does not fit the run's recipe.
    """
    checkpoint, _ = newest_checkpoint(Path(path) / FOLDER)
    if checkpoint is None:
        return None
    optimizer = fitted.own.optimizer
    rule = optimizers.get(
        fitted.recipe.training.optimizer if optimizer is None else optimizer
    ).build()
    objective = get("objective", fitted.recipe.objective.objective, fitted.own.classes)
    extras = initial_extras(objective, fitted.latent_dim, fitted.seed)
    averages = fitted.recipe.training.average_weights > 0
    skeleton = eqx.filter_eval_shape(
        initial_state, fitted.model, rule, coordinates(fitted.model), extras, averages
    )
    return checkpoint.state(skeleton)
