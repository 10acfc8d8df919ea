"""The recipe of a run: `settings` declares it, `older` reads recipes of earlier versions."""

from logvar.recipe.older import unknown_setting, upgraded
from logvar.recipe.settings import (
    CUSTOM,
    PRESETS,
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Recipe,
    TrainingSettings,
    preset,
)

__all__ = [
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
