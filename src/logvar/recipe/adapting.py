"""The recipe of a run that starts from the weights of another."""

import dataclasses

from logvar.errors import LogvarError
from logvar.recipe.settings import ModelSettings, Recipe

KEPT = (*(f.name for f in dataclasses.fields(ModelSettings)), "binarization", "dequantize")
"""Settings that the weights belong to, and how the model reads rows."""


def adapted(recipe: Recipe, earlier: Recipe, name: str, *, annotated: bool = False) -> Recipe:
    """Return a recipe with the model of an earlier run; all else stays as it is.

    Args:
        recipe: what is asked for; settings of the model may stay at their defaults.
        earlier: the recipe of the run that gives the weights.
        name: what messages call that run.
        annotated: whether the new rows are those of an AnnData object, which may have layers.

    Raises:
        LogvarError: the model that is asked for is another one.
    """
    asked, default, there = recipe.flat(), Recipe().flat(), earlier.flat()
    for setting in KEPT:
        if asked[setting] not in (default[setting], there[setting]):
            raise LogvarError(
                f"{setting} is {asked[setting]!r}, and {name} was trained with "
                f"{there[setting]!r}: leave it out to start from its weights, or fit "
                "without from_run (--from)"
            )
    if recipe.training.match:
        raise LogvarError(
            f"match changes how weights start, and these start from {name}: leave match out"
        )
    kept = {setting: there[setting] for setting in KEPT}
    if annotated and not recipe.data.layer:
        kept["layer"] = there["layer"]
    return recipe.replace(**kept)
