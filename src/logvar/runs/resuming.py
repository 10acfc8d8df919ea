"""Resuming a run: find its newest checkpoint, check that it is the same run, and keep new ones."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx

from logvar.assembly import Run
from logvar.assembly.parts import Classes, without_unused, written
from logvar.assembly.start import Start
from logvar.assembly.training_data import TrainingData
from logvar.backend.sparse import Rows
from logvar.data.sources import fingerprint
from logvar.errors import LogvarError
from logvar.processes.placement import writes
from logvar.recipe import Recipe
from logvar.recipe.older import upgraded
from logvar.runs.checkpoints import Checkpoints
from logvar.storage.checkpoints import (
    PLACES,
    Checkpoint,
    Identity,
    newest_checkpoint,
    save_checkpoint,
)
from logvar.storage.environment import changes, environment
from logvar.training.checkpointing import CheckpointWatcher
from logvar.training.extras import initial_extras
from logvar.training.state import TrainState, initial_state
from logvar.training.watching import EpochMetrics, Watcher

Tell = Callable[[str], None]
Resume = bool | Sequence[str | os.PathLike]


def data_of(data: TrainingData, start: Start | None = None) -> dict[str, Any]:
    """Return what identifies the data of a run, and the weights that it starts from."""
    found = {"rows": len(data.rows), "sha256": fingerprint(data.rows)}
    found |= _fingerprints(
        validation=data.validation,
        weight=data.weight,
        validation_weight=data.held_out_weight,
        label=data.label,
    )
    if data.table is not None:
        schema = data.table.schema.as_toml()
        found["schema_sha256"] = hashlib.sha256(schema.encode()).hexdigest()
    if data.told is not None:
        found |= _fingerprints(condition=data.told.rows, validation_condition=data.told.held_out)
    if start is not None:
        found["from_sha256"] = start.sha256
    return found


def _fingerprints(**of: Rows | None) -> dict[str, str]:
    return {f"{name}_sha256": fingerprint(rows) for name, rows in of.items() if rows is not None}


def identity(recipe: Recipe, data: dict[str, Any]) -> Identity:
    """Return what defines a run: its recipe, its data, and the environment that computes it."""
    # As JSON returns it: tuples become lists.
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.flat().items()}
    return Identity(plain, data, environment())


def facts_of(this: Identity) -> dict[str, Any]:
    """Return what all processes of a run must have alike.

    They may read its data, and the weights that it starts from, by other paths.
    """
    recipe = {name: value for name, value in this.recipe.items() if name not in PLACES}
    versions = {library: this.environment[library] for library in ("logvar", "jax")}
    return {"version": versions, "data": this.data, "recipe": recipe}


def of_this_process(
    checkpoints: Checkpoints | str | os.PathLike | None, resume: Resume
) -> tuple[Checkpoints | None, Resume]:
    """Return where this process writes checkpoints, and what it resumes from.

    Only the first of several processes does either; it sends the others its state.
    """
    if not writes():
        return None, False
    if isinstance(checkpoints, str | os.PathLike):
        return Checkpoints(checkpoints), resume
    return checkpoints, resume


def starting_state(
    run: Run,
    this: Identity,
    checkpoints: Checkpoints | None,
    resume: Resume,
    tell: Tell,
    warn: Tell,
    classes: Classes = (),
) -> tuple[TrainState | None, list[EpochMetrics]]:
    """Return the state to resume from and the epochs before it; (None, []) to start over.

    A checkpoint of another recipe or other data is refused. Other libraries, another processor
    or other kernels are allowed: `warn` is called with what changed.

    Raises:
        LogvarError: no folder to look in was given, or the checkpoint is of another run.
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
            f"{found.path} is a checkpoint of another run ({'; '.join(differences)}): repeat "
            "the earlier command, start over without --resume, or resume anyway with "
            "--allow-changes (Checkpoints(…, changes_allowed=True))"
        )
    for difference in differences:
        tell(f"resuming in spite of a change: {difference}")
    changed = changes(found.identity.environment, this.environment)
    if changed:
        warn(f"{changed}: the final bytes will differ from those of an unbroken run")
    tell(f"resuming from step {found.step:,}, after {len(found.history)} whole epochs")
    plan = run.plan
    extras = initial_extras(run.objective, run.model.latent_dim, plan.seed)
    skeleton = eqx.filter_eval_shape(
        initial_state, run.model, plan.optimizer, run.coordinates, extras, plan.averages
    )
    return found.state(skeleton), [EpochMetrics(**line) for line in found.history]


def _differences(run: Run, this: Identity, before: Identity, classes: Classes) -> list[str]:
    """Describe how this run differs from that of a checkpoint."""
    # A checkpoint of an earlier version lacks settings that came later.
    then = Recipe().flat() | upgraded(before.recipe)
    # Classes of a user's own that are not given now are a difference, not an error.
    own = {k: text for k, text in then.items() if isinstance(text, str) and text[:1].isupper()}
    known = {name: value for name, value in then.items() if name not in own}
    recipe = written(known, classes) | own
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
    """Return the complete checkpoint with the most steps in any of these folders."""
    best = None
    for folder in folders:
        checkpoint, passed_over = newest_checkpoint(folder)
        for reason in passed_over:
            tell(f"skipped a checkpoint: {reason}")
        if checkpoint is not None and (best is None or checkpoint.step > best.step):
            best = checkpoint
    return best


def with_checkpoints(
    watcher: Watcher,
    checkpoints: Checkpoints | None,
    history: list[EpochMetrics],
    this: Identity,
) -> CheckpointWatcher | None:
    """Return a watcher that also writes checkpoints; None if there is no folder for them."""
    if checkpoints is None:
        return None
    folder = Path(checkpoints.folder)

    def save(state: TrainState, history: list[EpochMetrics]) -> None:
        lines = [metrics.as_dict() for metrics in history]
        save_checkpoint(folder, int(state.step), state, lines, this)

    return CheckpointWatcher(
        watcher, save, history, seconds=checkpoints.seconds, epochs=checkpoints.epochs
    )
