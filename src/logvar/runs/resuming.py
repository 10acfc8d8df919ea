"""Going on with a run: what may be gone on from, whether it is the same run, and keeping it so."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from logvar.assembly import Run
from logvar.data.sources import fingerprint
from logvar.errors import LogvarError
from logvar.recipe.older import upgraded
from logvar.assembly.parts import Classes, without_unused, written
from logvar.recipe import Recipe
from logvar.storage.checkpoints import (
    Checkpoint,
    Identity,
    newest_checkpoint,
    save_checkpoint,
)
from logvar.storage.environment import changes, environment
from logvar.training.checkpointing import Keeping
from logvar.training.loop import EpochMetrics, Watcher
from logvar.training.state import TrainState, initial_state

Tell = Callable[[str], None]
Resume = bool | Sequence[str | os.PathLike]


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are kept while fitting, and how often.

    Args:
        folder: for them alone; the newest two are kept.
        seconds: one is written when so many have passed since the last.
        epochs: and after every so many epochs; 0 is off.
        changes_allowed: resume although the recipe or the data have changed.
    """

    folder: str | os.PathLike
    seconds: int | float = 60
    epochs: int = 0
    changes_allowed: bool = False


def data_of(
    rows: np.ndarray, validation: np.ndarray | None, weight: np.ndarray | None = None
) -> dict[str, Any]:
    """What identifies the data of a run."""
    data = {"rows": len(rows), "sha256": fingerprint(rows)}
    if validation is not None:
        data["validation_sha256"] = fingerprint(validation)
    if weight is not None:
        data["weight_sha256"] = fingerprint(weight)
    return data


def identity(recipe: Recipe, data: dict[str, Any]) -> Identity:
    """What a run is made of: its recipe, its data, and what computes it."""
    # As JSON gives it back: tuples become lists.
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.flat().items()}
    return Identity(plain, data, environment())


def begun(
    run: Run,
    this: Identity,
    checkpoints: Checkpoints | None,
    resume: Resume,
    tell: Tell,
    warn: Tell,
    classes: Classes = (),
) -> tuple[TrainState | None, list[EpochMetrics]]:
    """The state to go on from and the epochs that led to it; none of either to start over.

    Another recipe or other data are refused. Other libraries, another processor or other kernels
    are not: `warn` is told what changed.

    Raises:
        LogvarError: there is nowhere to look, or what is there belongs to another run.
    """
    if not resume:
        return None, []
    if resume is True and checkpoints is None:
        raise LogvarError("resume needs checkpoints: give the folder they are in")
    folders = [] if checkpoints is None else [Path(checkpoints.folder)]
    folders += [] if isinstance(resume, bool) else [Path(folder) for folder in resume]
    found = find(folders, tell)
    if found is None:
        tell("no checkpoint found: starting from the beginning")
        return None, []
    differences = _differences(run, this, found.identity, classes)
    if differences and not (checkpoints is not None and checkpoints.changes_allowed):
        raise LogvarError(
            f"{found.path} is a checkpoint of another run ({'; '.join(differences)}): run it as it "
            "was, start over without resume, or allow changes to go on all the same"
        )
    for difference in differences:
        tell(f"going on in spite of a change: {difference}")
    changed = changes(found.identity.environment, this.environment)
    if changed:
        warn(f"{changed}: the final bytes will differ from those of an unbroken run")
    tell(f"going on from step {found.step:,}, after {len(found.history)} whole epochs")
    skeleton = eqx.filter_eval_shape(
        initial_state, run.model, run.plan.optimizer, run.coordinates
    )
    return found.state(skeleton), [EpochMetrics(**line) for line in found.history]


def _differences(run: Run, this: Identity, before: Identity, classes: Classes) -> list[str]:
    """What differs from the run of a checkpoint, in words."""
    # A checkpoint of an earlier version lacks settings that came later.
    recipe = written(Recipe().flat() | upgraded(before.recipe), classes)
    for kind in ("likelihood", "network"):
        recipe[kind] = without_unused(kind, recipe[kind], getattr(run.decisions, kind))
    differences = this.differences(dataclasses.replace(before, recipe=recipe))
    epochs = recipe.get("epochs"), this.recipe["epochs"]
    if run.plan.schedule.needs_epochs and epochs[0] != epochs[1]:
        differences.append(
            f"epochs was {epochs[0]}, is {epochs[1]}, and learning_rate "
            f"{this.recipe['learning_rate']!r} runs to their end, so the steps already taken would "
            "have had other rates"
        )
    return differences


def find(folders: Sequence[Path], tell: Tell) -> Checkpoint | None:
    """The whole checkpoint with the most steps in any of these folders."""
    best = None
    for folder in folders:
        checkpoint, passed_over = newest_checkpoint(folder)
        for reason in passed_over:
            tell(f"passed over a checkpoint: {reason}")
        if checkpoint is not None and (best is None or checkpoint.step > best.step):
            best = checkpoint
    return best


def keeping(
    watcher: Watcher, checkpoints: Checkpoints, history: list[EpochMetrics], this: Identity
) -> Keeping:
    """A watcher that also keeps checkpoints."""

    def save(state: TrainState, history: list[EpochMetrics]) -> None:
        lines = [metrics.as_dict() for metrics in history]
        save_checkpoint(Path(checkpoints.folder), int(state.step), state, lines, this)

    return Keeping(watcher, save, history, seconds=checkpoints.seconds, epochs=checkpoints.epochs)
