"""Optimizers: how a gradient changes the weights.

`base` is the contract; one family per file; `given` wraps those of Optax; `registry` lists all.
"""

from logvar.training.optimizers.adam import Adam, AdamKeras, AdamRule, AdamState, AdamW
from logvar.training.optimizers.base import Optimizer, Rule, StepScalars
from logvar.training.optimizers.given import Given
from logvar.training.optimizers.registry import OPTIMIZERS, describe, get, names
from logvar.training.optimizers.sgd import SGD

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamKeras",
    "AdamRule",
    "AdamState",
    "AdamW",
    "Given",
    "Optimizer",
    "Rule",
    "StepScalars",
    "describe",
    "get",
    "names",
]
