"""`logvar fit`: train with a progress bar, evaluate, write the run folder and its report."""

import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import jax

from logvar.assembly.parts import check_fit, get, specs, written
from logvar.classifier import VAEClassifier
from logvar.cli.console import console, counted, say
from logvar.cli.inputs import Rows, Some, judged_rows
from logvar.cli.judging import print_evaluation
from logvar.cli.labels import evaluated, known_labels
from logvar.cli.terminal import at_least_one
from logvar.data import sources
from logvar.data.annotated import ENDING, is_annotated
from logvar.data.paths import absolute
from logvar.data.table.choices import Choices
from logvar.data.table.frame import Table
from logvar.data.table.large import LargeTable
from logvar.data.table.schema import Name, Schema
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.evaluation.summary import Evaluation
from logvar.processes.ending import exchanged
from logvar.processes.placement import Placement, several, writes
from logvar.processes.runtime import stop
from logvar.recipe import Recipe
from logvar.recipe.settings import OF_THE_SOURCE
from logvar.report.page import write_report
from logvar.runs.adapting import recipe_from
from logvar.runs.checkpoints import Checkpoints
from logvar.runs.resuming import Resume
from logvar.signals import leaving_unheard
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, newest_checkpoint
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder, write_atomically, writing
from logvar.training import schedules
from logvar.training.progress import ProgressBar
from logvar.training.watching import EpochMetrics


class CheckpointFlags(NamedTuple):
    """How often to write checkpoints, and whether to resume an earlier run."""

    resume: bool = False
    changes_allowed: bool = False
    seconds: float = Checkpoints.seconds
    epochs: int = Checkpoints.epochs


def fit(
    data: str,
    settings: dict[str, Any],
    out: Path,
    overwrite: bool,
    data_dir: str | None,
    importance_samples: int,
    checkpointing: CheckpointFlags = CheckpointFlags(),  # noqa: B008
    choices: Choices = Choices(),  # noqa: B008
) -> None:
    """Fit on a data set, evaluate on rows not trained on, write run folder and report."""
    keep_compiled_programs()
    at_least_one("--importance-samples", importance_samples)
    # From any folder, a run finds its data again, and reads them in the same way.
    source = {"data": absolute(data), **choices.as_settings()}
    if settings.get("from_run"):
        if out.exists() and out.resolve() == Path(settings["from_run"]).resolve():
            raise LogvarError(
                f"--from and --out are both {out}, and training would replace the run that it "
                "starts from: choose another --out"
            )
        settings = settings | {"from_run": os.path.abspath(settings["from_run"])}
    recipe = Recipe().replace(**settings, **source).checked()
    recipe = recipe_from(_as_written(recipe), annotated=Path(data).suffix.lower() == ENDING)
    check_fit(specs(recipe))
    if _finished_for_all(checkpointing.resume, out, recipe, choices):
        return
    dataset = sources.load(
        data,
        data_dir,
        recipe.data.resize,
        recipe.data.shape,
        choices=choices,
        layer=recipe.data.layer,
        window=recipe.training.window,
    )
    overrides = overrides_of(choices, dataset)
    told = choices.conditions if is_annotated(dataset.train) else None
    if not writes():
        vae, _, problem = _fitted(recipe, dataset, None, checkpointing, overrides, told)
        if problem is not None:
            _wait_for_the_first()
            raise problem
        return
    folder = UnfinishedFolder(
        out,
        overwrite=overwrite or checkpointing.resume,
        marker=run_folder.MANIFEST,
        keep=checkpointing.resume,
    )
    try:
        vae, seconds, problem = _fitted(recipe, dataset, folder, checkpointing, overrides, told)
        vae.write_into(folder.path)
    except BaseException:
        # Keep what can be resumed; an unfinished folder without a checkpoint is useless.
        found = newest_checkpoint(folder.path / FOLDER)[0]
        folder.discard() if found is None else folder.leave()
        raise
    # From here on, no error loses the trained model.
    if problem is not None:
        say(f"run     {folder.publish()}")
        if vae.ended_ == "interrupted":
            say("saved; run the same command with --resume to continue")
        _wait_for_the_first()
        raise problem
    try:
        judged = judged_rows(dataset, vae.fitted_)
        evaluation = evaluated(vae, judged, importance_samples)
        _write_results(folder.path, vae, evaluation, judged, seconds)
        print_evaluation(evaluation)
    except (LogvarError, KeyboardInterrupt) as error:
        rest = "the same command with --resume does the rest"
        if (folder.path / run_folder.EVALUATION).is_file():
            rest = f"`logvar report {out}` writes its report"
        kept = f"the trained model is in {out}, and {rest}"
        if isinstance(error, KeyboardInterrupt):
            say(kept)
            raise
        raise LogvarError(f"{error}; {kept}") from error
    finally:
        path = folder.publish()
        say(f"run     {path}")
    say(f"report  {path / run_folder.REPORT}")


def _wait_for_the_first() -> None:
    """Let the first process write before another ends, as launchers then kill the rest."""
    if several():
        exchanged(Placement.of(jax.devices()))
        stop()


def _finished_for_all(resume: bool, out: Path, recipe: Recipe, choices: Choices) -> bool:
    """Return whether the run is complete, as the first process of several finds it."""
    finished = resume and writes() and _already_finished(out, recipe, choices)
    if several():
        finished = bool(exchanged(Placement.of(jax.devices()), [finished])[0, 0])
    return finished


def _as_written(recipe: Recipe) -> Recipe:
    """Return the recipe with its parts in the spelling of their registries."""
    return recipe.replace(**written(recipe.flat()))


def overrides_of(choices: Choices, dataset: sources.Dataset) -> dict[Name, Any] | None:
    """Return what is said of the columns of a table, if these examples are one.

    Raises:
        LogvarError: they have no columns.
    """
    overrides = choices.overrides()
    if not overrides or dataset.of_columns or is_annotated(dataset.train):
        return None
    if not isinstance(dataset.train, Table | LargeTable) and (
        dataset.train.ndim != 2 or dataset.reading is not None
    ):
        raise LogvarError(
            f"{dataset.name} has examples of shape {dataset.train.shape[1:]}, and --kind, --drop, "
            "--id, --label, --condition and --schema are for the columns of a table: leave them out"
        )
    return overrides


def _size(rows: Some) -> str:
    if isinstance(rows, Table | LargeTable):
        return f"{counted(len(rows), 'row')} of {counted(len(rows.names), 'column')}"
    return f"{len(rows):,} examples of shape {rows.shape[1:]}"


def _source_of(recipe: Recipe, dataset: sources.Dataset) -> dict[str, str]:
    """Return the recipe's settings of the source, with the reading that was found."""
    settings = recipe.flat()
    reading = dataset.reading.as_text() if dataset.reading else ""
    return {name: settings[name] for name in OF_THE_SOURCE} | {"reading": reading}


def _already_finished(out: Path, recipe: Recipe, choices: Choices) -> bool:
    """Return whether the folder has this run, complete and evaluated; if so, print that."""
    if not (out / run_folder.MANIFEST).is_file() or not (out / run_folder.EVALUATION).is_file():
        return False
    manifest = run_folder.read_manifest(out)
    there = _as_written(Recipe.from_toml(run_folder.read_recipe(out)))
    epochs = recipe.training.epochs
    # The reading is found in the data, which are not read here; earlier versions kept the path as
    # it was given.
    there = there.replace(reading="", data=there.data.data and absolute(there.data.data))
    same = there.replace(epochs=epochs) == recipe and _has_schema(out, choices)
    if schedules.get(recipe.training.learning_rate).needs_epochs:
        same = same and there == recipe
    whole = manifest.ended == "stopped early" or (
        manifest.ended == "finished" and manifest.epochs_run >= epochs
    )
    if same and whole:
        say(f"{out} is already finished: {manifest.ended} after {manifest.epochs_run} epochs")
    return same and whole


def _has_schema(out: Path, choices: Choices) -> bool:
    """Return whether a run's columns are what a schema's file says, which may say more by now."""
    if not choices.schema or not (out / run_folder.SCHEMA).is_file():
        return not choices.schema
    text = (out / run_folder.SCHEMA).read_text(encoding="utf-8")
    kinds = {str(column.name).strip(): column.kind for column in Schema.from_toml(text)}
    said = choices.said()
    return all(kinds.get(str(name).strip()) == kind for name, kind in said.items())


def _fitted(
    recipe: Recipe,
    dataset: sources.Dataset,
    folder: UnfinishedFolder | None,
    checkpointing: CheckpointFlags,
    overrides: dict[Name, Any] | None,
    told: list[Name] | None = None,
) -> tuple[VAE, list[float], BaseException | None]:
    """Train with a progress bar; without a folder, nothing is printed or written.

    What follows training is of one process alone; the others leave, unless there is a problem.

    `told` names columns of an AnnData object's obs; those of a table are in `overrides`.

    Returns the estimator, the seconds of each epoch, and the exception that ended training early
    while the estimator keeps what it has learned: an interruption, or a number that is not finite.
    """

    def record(metrics: EpochMetrics) -> None:
        if folder is None:
            return
        # For `tail -f`; the complete file is written at the end.
        path = folder.path / run_folder.METRICS
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(run_folder.to_json_line(metrics.as_dict()))

    checkpoints: Checkpoints | None = None
    resume: Resume = False
    if folder is None:
        console.quiet = True
    else:
        (folder.path / run_folder.METRICS).unlink(missing_ok=True)
        checkpoints = Checkpoints(
            folder.path / FOLDER,
            checkpointing.seconds,
            checkpointing.epochs,
            checkpointing.changes_allowed,
        )
        resume = [folder.final / FOLDER] if checkpointing.resume else False
    settings = recipe.flat()
    learns = get("objective", recipe.objective.objective).sums_out_labels
    estimator = VAEClassifier if learns else VAE
    labels = None
    if learns:
        choices = Choices.of(recipe.data)
        labels = known_labels(dataset.train, dataset.train_labels, choices)
    vae = estimator(**{name: settings[name] for name in Recipe.settings()}, schema=overrides)
    say(
        f"{dataset.name}: {_size(dataset.train)}, binarization {recipe.data.binarization}, scale "
        f"{recipe.model.scale}"
    )
    for note in dataset.notes:
        say(note)
    problem: BaseException | None = None
    bar = ProgressBar(console, recipe.training.epochs, len(dataset.train), record)
    with bar, leaving_unheard(harmless=lambda: not bar.trained):
        try:
            vae.fit(
                dataset.train,
                labels,
                condition=told or None,
                watcher=bar,
                source=_source_of(recipe, dataset),
                announce=say,
                checkpoints=checkpoints,
                resume=resume,
            )
        except (KeyboardInterrupt, LogvarError) as error:
            ended = getattr(vae, "ended_", None)
            if ended == "interrupted":
                problem = SystemExit(128 + (vae.stopped_by_ or signal.SIGINT))
            elif ended == "not finite":
                problem = error
            else:
                raise
    if problem is None:
        stop()
    say(f"{vae.ended_} after {counted(vae.n_iter_, 'epoch')}")
    return vae, bar.epoch_seconds, problem


def _write_results(
    folder: Path, vae: VAE, evaluation: Evaluation, judged: Rows, seconds: list[float]
) -> None:
    clocks = [{"epoch": i + 1, "seconds": round(s, 4)} for i, s in enumerate(seconds)]
    write_atomically(
        folder / run_folder.TIMING, "".join(run_folder.to_json_line(line) for line in clocks)
    )
    write_atomically(folder / run_folder.EVALUATION, run_folder.to_json(evaluation.as_dict()))
    write_report(folder / run_folder.REPORT, vae, evaluation, judged.shown, judged.labels, seconds)
