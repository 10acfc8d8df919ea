"""The commands on runs: load, call the estimator, write, print."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logvar import scales as catalogue
from logvar.assembly.parts import check_fit, specs, written
from logvar.cli import pictures
from logvar.cli.console import console
from logvar.data import sources, tables
from logvar.data.order import split
from logvar.data.preparation import as_rows
from logvar.errors import LogvarError
from logvar.estimator import VAE, load
from logvar.evaluation.health import ACTIVE
from logvar.evaluation.summary import Evaluation
from logvar.recipe import Recipe
from logvar.report.page import write_report
from logvar.runs.converting import convert_fitted
from logvar.runs.doctor import described_environment, ending, health
from logvar.runs.loading import load_fitted, load_state
from logvar.runs.resuming import Checkpoints
from logvar.runs.saving import write_run
from logvar.signals import leaving_unheard
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, newest_checkpoint
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder, write_atomically, writing
from logvar.training import schedules
from logvar.training.loop import EpochMetrics
from logvar.training.progress import ProgressBar


class Rows(NamedTuple):
    """The rows to evaluate a run on."""

    rows: np.ndarray
    labels: np.ndarray | None
    split: str


class CheckpointFlags(NamedTuple):
    """How often to write checkpoints, and whether to resume an earlier run."""

    resume: bool = False
    changes_allowed: bool = False
    seconds: float = 60.0
    epochs: int = 0


def fit(
    data: str,
    settings: dict[str, Any],
    out: Path,
    overwrite: bool,
    data_dir: str | None,
    importance_samples: int,
    checkpointing: CheckpointFlags = CheckpointFlags(),  # noqa: B008
) -> None:
    """Fit on a data set, evaluate on rows not trained on, write run folder and report."""
    keep_compiled_programs()
    _at_least_one("--importance-samples", importance_samples)
    recipe = Recipe().replace(**settings, data=data).checked()
    recipe = _as_written(recipe)
    check_fit(specs(recipe))
    if checkpointing.resume and _already_finished(out, recipe):
        return
    dataset = sources.load(data, data_dir, recipe.data.resize, recipe.data.shape)
    folder = UnfinishedFolder(
        out,
        overwrite=overwrite or checkpointing.resume,
        marker=run_folder.MANIFEST,
        keep=checkpointing.resume,
    )
    try:
        vae, seconds, problem = _fitted(recipe, dataset, folder, checkpointing)
        vae.write_into(folder.path)
    except BaseException:
        # Keep what can be resumed; an unfinished folder without a checkpoint is useless.
        found = newest_checkpoint(folder.path / FOLDER)[0]
        folder.discard() if found is None else folder.leave()
        raise
    # From here on, no error loses the trained model.
    if problem is not None:
        console.print(f"run     {folder.publish()}", highlight=False, soft_wrap=True)
        if vae.ended_ == "interrupted":
            console.print("saved; run the same command with --resume to continue", highlight=False)
        raise problem
    try:
        judged = judged_rows(dataset, recipe)
        evaluation = vae.evaluate(judged.rows, split=judged.split, n_importance=importance_samples)
        _write_results(folder.path, vae, evaluation, judged, seconds)
        _print_evaluation(evaluation)
    finally:
        path = folder.publish()
        console.print(f"run     {path}", highlight=False, soft_wrap=True)
    console.print(f"report  {path / run_folder.REPORT}", highlight=False, soft_wrap=True)


def _as_written(recipe: Recipe) -> Recipe:
    """Return the recipe with its parts in the spelling of their registries."""
    return recipe.replace(**written(recipe.flat()))


def _already_finished(out: Path, recipe: Recipe) -> bool:
    """Return whether the folder has this run, complete and evaluated; if so, print that."""
    if not (out / run_folder.MANIFEST).is_file() or not (out / run_folder.EVALUATION).is_file():
        return False
    manifest = run_folder.read_manifest(out)
    there = _as_written(Recipe.from_toml(run_folder.read_recipe(out)))
    epochs = recipe.training.epochs
    there = there.replace(reading="")  # found in the data, which are not read here
    same = there.replace(epochs=epochs) == recipe
    if schedules.get(recipe.training.learning_rate).needs_epochs:
        same = there == recipe
    whole = manifest.ended == "stopped early" or (
        manifest.ended == "finished" and manifest.epochs_run >= epochs
    )
    if same and whole:
        console.print(
            f"{out} is already finished: {manifest.ended} after {manifest.epochs_run} epochs",
            highlight=False,
            soft_wrap=True,
        )
    return same and whole


def _fitted(
    recipe: Recipe,
    dataset: sources.Dataset,
    folder: UnfinishedFolder,
    checkpointing: CheckpointFlags,
) -> tuple[VAE, list[float], BaseException | None]:
    """Train with a progress bar.

    Returns the estimator, the seconds of each epoch, and the exception that ended training early
    while the estimator keeps what it has learned: an interruption, or a number that is not finite.
    """

    def record(metrics: EpochMetrics) -> None:
        # For `tail -f`; the complete file is written at the end.
        path = folder.path / run_folder.METRICS
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(run_folder.to_json_line(metrics.as_dict()))

    (folder.path / run_folder.METRICS).unlink(missing_ok=True)
    checkpoints = Checkpoints(
        folder.path / FOLDER,
        checkpointing.seconds,
        checkpointing.epochs,
        checkpointing.changes_allowed,
    )
    settings = recipe.flat()
    vae = VAE(**{name: settings[name] for name in Recipe.settings()})
    console.print(
        f"{dataset.name}: {len(dataset.train):,} examples of shape {dataset.train.shape[1:]}, "
        f"binarization {recipe.data.binarization}, scale {recipe.model.scale}",
        highlight=False,
        soft_wrap=True,
    )
    for note in dataset.notes:
        _announce(note)
    problem: BaseException | None = None
    bar = ProgressBar(console, recipe.training.epochs, len(dataset.train), record)
    with bar, leaving_unheard(harmless=lambda: not bar.trained):
        try:
            vae.fit(
                dataset.train,
                watcher=bar,
                source=pictures.source_of(recipe, dataset),
                announce=_announce,
                checkpoints=checkpoints,
                resume=[folder.final / FOLDER] if checkpointing.resume else False,
            )
        except (KeyboardInterrupt, LogvarError) as error:
            ended = getattr(vae, "ended_", None)
            if ended == "interrupted":
                problem = SystemExit(128 + (vae.stopped_by_ or signal.SIGINT))
            elif ended == "not finite":
                problem = error
            else:
                raise
    console.print(f"{vae.ended_} after {vae.n_iter_} epochs", highlight=False)
    return vae, bar.epoch_seconds, problem


def _announce(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def judged_rows(dataset: sources.Dataset, recipe: Recipe) -> Rows:
    """Return the test set if there is one, otherwise the rows held out from training."""
    if dataset.test is not None:
        return Rows(dataset.test, dataset.test_labels, "test")
    kept, held_out = _split(dataset, recipe)
    name = "held out, also used to stop early" if len(held_out) else "train (nothing was held out)"
    chosen = held_out if len(held_out) else kept
    labels = None if dataset.train_labels is None else dataset.train_labels[chosen]
    return Rows(dataset.train[chosen], labels, name)


def _split(dataset: sources.Dataset, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return (trained on, held out): the training set as `fit` splits it."""
    settings = recipe.training
    return split(len(dataset.train), settings.validation_fraction, settings.random_state)


def convert(
    run: Path,
    data: str | None,
    data_dir: str | None,
    scale: str,
    out: Path | None,
    overwrite: bool,
    match: bool,
) -> None:
    """Convert a run to another scale, write it, and print what that changes."""
    keep_compiled_programs()
    catalogue.get(scale)
    fitted = load_fitted(run)
    fitted = dataclasses.replace(fitted, state=load_state(fitted, run))
    rows = as_rows(pictures.load_for(fitted.recipe, data, data_dir).train)
    converted, change = convert_fitted(fitted, scale, rows.reshape(-1, *fitted.shape), match=match)
    in_a_name = "".join(c if c.isalnum() or c in "-_." else "_" for c in scale)
    target = out or run.with_name(f"{run.resolve().name}-{in_a_name}")
    folder = UnfinishedFolder(target, overwrite=overwrite, marker=run_folder.MANIFEST)
    try:
        stated = {"from": fitted.recipe.model.scale, "to": scale} | dataclasses.asdict(change)
        write_atomically(folder.path / run_folder.CONVERSION, run_folder.to_json(stated))
        write_run(converted, folder.path)
        path = folder.publish()
    except BaseException:
        folder.discard()
        raise
    console.print(str(change), highlight=False, soft_wrap=True)
    reference = converted.recipe.training.match
    if reference:
        console.print(f"training continues as under {reference} (match)", highlight=False)
    console.print(f"run     {path}", highlight=False, soft_wrap=True)


def evaluate(run: Path, data: str | None, data_dir: str | None, importance_samples: int) -> None:
    """Print the figures of a run on its own evaluation rows, or on other data."""
    keep_compiled_programs()
    _at_least_one("--importance-samples", importance_samples)
    vae = load(run)
    judged = _rows_for(vae, data, data_dir)
    _print_evaluation(
        vae.evaluate(judged.rows, split=judged.split, n_importance=importance_samples)
    )


def write(
    run: Path,
    data: str | None,
    data_dir: str | None,
    out: Path,
    function: Callable[[VAE, np.ndarray], np.ndarray],
    name: str,
) -> None:
    """Apply a function of (estimator, rows) and write the result."""
    keep_compiled_programs()
    vae = load(run)
    _refuse_its_data(out, data or vae.recipe_.data.data)
    if name in ("x", "decoded"):
        pictures.check_images(vae, out)
    rows, names = pictures.all_rows(vae, data, data_dir, are_latents=name == "decoded")
    result = function(vae, rows)
    if name in ("x", "decoded"):
        return pictures.write(vae, out, result, names)
    width = int(np.prod(result.shape[1:]))
    columns = [name] if result.ndim == 1 else [f"{name}{i}" for i in range(width)]
    # `decode` reads what `encode` wrote, so only scores name their files.
    tables.write(out, result, columns, names if name == "log_likelihood" else ())
    console.print(f"{out}: {len(result):,} rows, {width} columns", highlight=False)


def sample(run: Path, out: Path, n: int, mean: bool, seed: int | None) -> None:
    """Draw examples from a run's model."""
    keep_compiled_programs()
    vae = load(run)
    _refuse_its_data(out, vae.recipe_.data.data)
    mean = pictures.check_images(vae, out) or mean
    drawn = vae.sample(n, mean=mean, random_state=seed)
    pictures.write(vae, out, drawn, what="E[x | z]" if mean else "draws of x")


def doctor(
    run: Path | None, data: str | None, data_dir: str | None, with_environment: bool
) -> None:
    """Check a run and print the problems; exit code 1 if there are any."""
    if with_environment:
        for name, value in described_environment().items():
            console.print(f"{name}: {value}", highlight=False, soft_wrap=True, markup=False)
    if run is None:
        return
    keep_compiled_programs()
    findings = list(ending(run))
    if (run / run_folder.MANIFEST).is_file():
        vae = load(run)
        judged = _rows_for(vae, data, data_dir)
        findings += health(vae.fitted_, as_rows(judged.rows))
    for finding in findings:
        console.print(str(finding), highlight=False, soft_wrap=True, markup=False)
    if not all(finding.fine for finding in findings):
        raise SystemExit(1)


def report(run: Path, data: str | None, data_dir: str | None) -> None:
    """Draw a run's report again from its folder and its data."""
    keep_compiled_programs()
    vae = load(run)
    judged = _rows_for(vae, data, data_dir)
    evaluation = vae.evaluate(judged.rows, split=judged.split)
    path = write_report(run / run_folder.REPORT, vae, evaluation, judged.rows, judged.labels)
    console.print(f"report  {path}", highlight=False, soft_wrap=True)


def _write_results(
    folder: Path, vae: VAE, evaluation: Evaluation, judged: Rows, seconds: list[float]
) -> None:
    clocks = [{"epoch": i + 1, "seconds": round(s, 4)} for i, s in enumerate(seconds)]
    write_atomically(
        folder / run_folder.TIMING, "".join(run_folder.to_json_line(line) for line in clocks)
    )
    write_atomically(folder / run_folder.EVALUATION, run_folder.to_json(evaluation.as_dict()))
    write_report(folder / run_folder.REPORT, vae, evaluation, judged.rows, judged.labels, seconds)


def _rows_for(vae: VAE, data: str | None, data_dir: str | None) -> Rows:
    """Return the rows to evaluate a run on; of the run's own data, those it did not train on.

    Raises:
        LogvarError: no data are given, and the run's data have changed since.
    """
    dataset = pictures.load_for(vae.recipe_, data, data_dir)
    kept, _ = _split(dataset, vae.recipe_)
    trained_on = as_rows(dataset.train)[kept]
    if vae.data_.get("sha256") in sources.fingerprints(trained_on):
        return judged_rows(dataset, vae.recipe_)
    if data is None:
        raise LogvarError(
            f"{vae.recipe_.data.data} is not what this run was fitted on (its fingerprint "
            "differs), so rows that trained it cannot be told from others: restore it, or give DATA"
        )
    if dataset.test is not None:
        return Rows(dataset.test, dataset.test_labels, f"test set of {dataset.name}")
    return Rows(dataset.train, dataset.train_labels, f"all rows of {dataset.name}")


def _print_evaluation(evaluation: Evaluation) -> None:
    protocol = evaluation.protocol
    console.print(
        f"on {protocol.rows:,} rows ({protocol.split}), binarization {protocol.binarization}, "
        f"± standard error over rows:",
        highlight=False,
        soft_wrap=True,
    )
    for figure in evaluation.figures:
        name = figure.name.replace("_", " ")
        console.print(f"  {name:<20}{figure!s:<36} {figure.how}", highlight=False, soft_wrap=True)
    if evaluation.noise is not None:
        console.print(f"  {'noise':<20}{evaluation.noise}", highlight=False, soft_wrap=True)
    if evaluation.outside:
        console.print(
            f"  {'outside':<20}{evaluation.outside:,} of {protocol.rows:,} rows: outside of what "
            "the encoder was trained on",
            highlight=False,
            soft_wrap=True,
        )
    active = f"{evaluation.active_units} of {evaluation.latents}"
    console.print(f"  {'active units':<20}{active:<36} {ACTIVE}", highlight=False, soft_wrap=True)
    raw = evaluation.raw_outputs
    console.print(
        f"  {'raw outputs':<20}{raw.quantiles['0']:.2f} … {raw.quantiles['1']:.2f}, "
        f"{raw.share_outside:.2%} outside the safe range",
        highlight=False,
    )


def _refuse_its_data(out: Path, data: str) -> None:
    """Refuse an output that would overwrite the data; earlier results may be overwritten."""
    if data and out.exists() and Path(data).exists() and out.samefile(data):
        raise LogvarError(f"--out {out} is the data itself: choose another --out")


def _at_least_one(flag: str, value: int) -> None:
    if value < 1:
        raise LogvarError(f"{flag} is {value}: expected at least 1")
