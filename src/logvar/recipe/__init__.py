"""The recipe of a run: `settings` declares it, `presets` names some, `older` reads old ones."""

from logvar.recipe.older import unknown_setting, upgraded
from logvar.recipe.presets import ABOUT, PRESETS
from logvar.recipe.settings import (
    CUSTOM,
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Recipe,
    TrainingSettings,
    preset,
)

__all__ = [
    "ABOUT",
    "CUSTOM",
    "PRESETS",
    "DataSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "Recipe",
    "TrainingSettings",
    "preset",
    "unknown_setting",
    "upgraded",
]
