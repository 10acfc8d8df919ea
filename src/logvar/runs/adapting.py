"""Start a new run from the weights of a run folder."""

import hashlib
import os
from pathlib import Path

from logvar.assembly import Own
from logvar.assembly.start import Start
from logvar.errors import LogvarError
from logvar.recipe import Recipe
from logvar.recipe.adapting import adapted
from logvar.runs.loading import load_fitted
from logvar.storage import run_folder


def recipe_from(recipe: Recipe, *, annotated: bool = False) -> Recipe:
    """Return a recipe with the model of the run that it starts from; unchanged if it has none.

    Args:
        recipe: what is asked for.
        annotated: whether the new rows are those of an AnnData object.

    Raises:
        LogvarError: there is no complete run, or the recipe asks for another model.
    """
    path = recipe.training.from_run
    if not path:
        return recipe
    try:
        run_folder.read_manifest(Path(path))
    except LogvarError as error:
        raise LogvarError(f"from_run (--from), the run to start from: {error}") from error
    earlier = Recipe.from_toml(run_folder.read_recipe(Path(path)))
    return adapted(recipe, earlier, path, annotated=annotated)


def start_from(path: str | os.PathLike, own: Own = Own()) -> Start:  # noqa: B008
    """Load what a new run takes over from an earlier one.

    Args:
        path: the folder of the earlier run.
        own: the networks and classes that it needs, if it has some of the user's own.

    Raises:
        LogvarError: the folder is not a complete run, or the objects do not fit.
    """
    fitted = load_fitted(path, encoder=own.encoder, decoder=own.decoder, parts=own.classes)
    weights = (Path(path) / run_folder.WEIGHTS).read_bytes()
    return Start(
        os.fspath(path),
        hashlib.sha256(weights).hexdigest(),
        fitted.recipe,
        fitted.decisions,
        fitted.model,
        fitted.units,
        fitted.shape,
        fitted.table,
        fitted.conditions,
        fitted.features,
    )
