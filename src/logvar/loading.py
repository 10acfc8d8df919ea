"""Estimators around models that were trained before: from a run folder, or from elsewhere."""

import math
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from logvar import assembly
from logvar.data.standardization import ARRAYS, Standardization
from logvar.distributions.registry import FAMILIES
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.model import Model
from logvar.networks.registry import Network
from logvar.recipe import Recipe
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, newest_checkpoint
from logvar.storage.weights import load_arrays, load_named
from logvar.training import optimizers
from logvar.training.matching import coordinates
from logvar.training.state import TrainState, initial_state


def load(
    path: str | os.PathLike,
    *,
    encoder: Network | None = None,
    decoder: Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
) -> VAE:
    """Load a fitted estimator from a run folder; runs no code from it.

    Args:
        path: the run folder.
        encoder: for a run with networks of your own, a module of the same structure; its
            weights are replaced by those of the run.
        decoder: likewise.
        optimizer: for a run whose optimizer was an object, that object, if it is to be fitted
            again or resumed.
        learning_rate: likewise.

    Raises:
        LogvarError: no whole run folder, a file that was changed, another format, or networks
            that do not fit.

    Example:
        >>> import logvar, pathlib, tempfile
        >>> from sklearn.datasets import load_iris
        >>> vae = logvar.VAE(latent_dim=2, epochs=2).fit(load_iris().data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = vae.save(pathlib.Path(folder) / "iris")
        ...     bool((logvar.load(path).transform(load_iris().data)
        ...           == vae.transform(load_iris().data)).all())
        True
    """
    folder = Path(path)
    manifest = run_folder.read_manifest(folder)
    recipe = Recipe.from_toml(run_folder.read_recipe(folder))
    if manifest.custom and encoder is None:
        raise LogvarError(
            f"{folder} holds a run with networks of its own ({manifest.custom.get('encoder')}, "
            f"{manifest.custom.get('decoder')}): pass logvar.load(path, encoder=…, decoder=…) with "
            "modules of the same structure"
        )
    weights = folder / run_folder.WEIGHTS
    if math.prod(manifest.shape) > max(weights.stat().st_size, 1 << 20):
        raise LogvarError(
            f"{folder}: examples of shape {manifest.shape} do not go with weights of "
            f"{weights.stat().st_size} bytes; the manifest was changed"
        )
    decisions = assembly.Decisions(
        manifest.likelihood, manifest.network, float(manifest.divisor), ()
    )
    # A rescue may have given the scale bounds, which the recipe to repeat the run does not have.
    of_weights = recipe.replace(scale=manifest.scale or recipe.model.scale)
    skeleton = assembly.skeleton(of_weights, decisions, manifest.shape, encoder, decoder)
    model, standardization = _weights_of(folder, manifest, skeleton)
    return fitted(
        recipe,
        decisions,
        model,
        manifest.shape,
        manifest.dtype,
        history=run_folder.read_lines(folder / run_folder.METRICS),
        ended=manifest.ended,
        data=manifest.data,
        encoder=encoder,
        decoder=decoder,
        standardization=standardization,
        optimizer=optimizer,
        learning_rate=learning_rate,
    )


def _weights_of(
    folder: Path, manifest: run_folder.Manifest, skeleton: Model
) -> tuple[Model, Standardization | None]:
    """The model of a run folder, and how it reads real values."""
    weights, apart = folder / run_folder.WEIGHTS, folder / run_folder.STANDARDIZATION
    if manifest.likelihood not in FAMILIES:
        return load_arrays(weights, skeleton), None
    if run_folder.STANDARDIZATION in manifest.hashes:
        dtype = np.float64 if manifest.dtype == "float64" else np.float32
        arrays = load_named(apart, ARRAYS, manifest.shape)
        if not ((arrays["factor"] > 0) & (arrays["low"] <= arrays["high"])).all():
            raise LogvarError(f"{apart} is no standardization; the file was changed: fit again")
        shift, factor, low, high = (arrays[name] for name in ARRAYS)
        return load_arrays(weights, skeleton), Standardization(shift, factor, low, high, dtype)
    # A run of logvar 0.1: float32, and within the model.
    names = ("likelihood.shift", "likelihood.factor")
    shift, factor = load_named(weights, names, manifest.shape).values()
    rows = manifest.data.get("rows", 0)
    standardization = Standardization.of_float32(shift, factor, rows if type(rows) is int else 0)
    known = eqx.tree_at(_log_factor, skeleton, None)
    model = load_arrays(weights, known, apart=names)
    log_factor = jnp.asarray(standardization.log_factor, jnp.float32)
    return (
        eqx.tree_at(_log_factor, model, log_factor, is_leaf=lambda leaf: leaf is None),
        standardization,
    )


def _log_factor(model: Model) -> Any:
    return model.likelihood.log_factor  # type: ignore[attr-defined]


def load_state(vae: VAE, path: str | os.PathLike) -> TrainState | None:
    """The state of training that a run folder holds, from which its run can go on.

    Raises:
        LogvarError: the state does not fit the run's recipe.
    """
    checkpoint, _ = newest_checkpoint(Path(path) / FOLDER)
    if checkpoint is None:
        return None
    rule = optimizers.get(vae.optimizer).build()
    skeleton = eqx.filter_eval_shape(
        initial_state, vae.model_, rule, vae._n_features_out, coordinates(vae.model_)
    )
    return checkpoint.state(skeleton)


def fitted(
    recipe: Recipe,
    decisions: assembly.Decisions,
    model: Model,
    shape: tuple[int, ...],
    dtype: str,
    *,
    history: list[dict[str, Any]],
    ended: str,
    data: dict[str, Any],
    standardization: Standardization | None = None,
    **objects: Any,
) -> VAE:
    """An estimator around a model that was trained elsewhere."""
    settings = recipe.flat()
    settings = {name: settings[name] for name in Recipe.settings()}
    # Objects that were given stand in place of the recipe's word for them.
    vae = VAE(**settings | {name: given for name, given in objects.items() if given is not None})
    vae.recipe_ = recipe
    vae.decisions_ = decisions
    vae.model_ = model
    vae.state_ = None
    vae.history_ = history
    vae.n_iter_ = len(history)
    vae.ended_ = ended
    vae.data_ = data
    vae.n_features_in_ = math.prod(shape)
    prepared = assembly.preparation(recipe, decisions, standardization)
    vae._set_fitted(prepared, standardization, shape, dtype)
    return vae
