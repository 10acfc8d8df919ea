"""Everything that the training loop needs besides the model and the rows."""

from typing import Any

import numpy as np

from logvar.backend.precision import Precision
from logvar.data.preparation import Preparation
from logvar.errors import LogvarError
from logvar.objectives import Objective
from logvar.recipe import Recipe, TrainingSettings
from logvar.training import optimizers, schedules
from logvar.training.loop import Plan
from logvar.training.step import Fixed

RESCUES = 3
"""The maximum number of rescues of a run with on_divergence="rescue"."""


def build_plan(
    recipe: Recipe,
    prepared: Preparation,
    objective: Objective,
    own_optimizer: Any = None,
    own_rate: Any = None,
) -> Plan:
    """Return everything else that the loop needs.

    Args:
        recipe: the recipe of the run.
        prepared: the preparation left to do per batch.
        objective: early stopping waits for its warm-up.
        own_optimizer: the optimizer, if the recipe says "custom".
        own_rate: the learning rate likewise.
    """
    settings = recipe.training
    rule = optimizers.get(settings.optimizer if own_optimizer is None else own_optimizer).build()
    rate = settings.learning_rate if own_rate is None else own_rate
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
        patience_starts=int(np.ceil(objective.settled_after)),
        rescues=RESCUES if settings.on_divergence == "rescue" else 0,
        average_weights=settings.average_weights,
        fixed=Fixed(
            settings.batch_size,
            prepared,
            Precision(settings.precision),
            settings.shards,
        ),
    )
