"""`logvar.compare`: does the scale matter on these data?"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logvar.assembly.conditioning import taken_in_beside, told_first
from logvar.assembly.empty_columns import check_columns
from logvar.assembly.parts import (
    AUTO,
    KINDS,
    check_fit,
    get,
    is_auto,
    own_classes,
    resolved,
    specs,
    written,
)
from logvar.assembly.tables import likelihood_of, taken_in
from logvar.backend.sparse import Rows as SomeRows
from logvar.backend.sparse import SparseRows
from logvar.data.conditions import Told, names_of
from logvar.data.sources import fingerprint
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError
from logvar.recipe import CUSTOM, Recipe
from logvar.report.comparison import write_comparison
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.environment import environment
from logvar.storage.files import UnfinishedFolder, write_atomically
from logvar.study.arms import ARMS
from logvar.study.experiment import OWN, Experiment, Outcome, Unit, rows_of, run_unit, units
from logvar.study.results import (
    PARTS,
    begin,
    csv_of,
    notes_of_environments,
    plain,
    read_outcome,
    record_environment,
    write_outcome,
)
from logvar.study.verdicts import Table, Verdict, conclusions, judge, warnings
from logvar.study.workers import Work, check_workers, run_units, workers
from logvar.training import schedules

if TYPE_CHECKING:
    import pyarrow as pa

SCALES = ("log-variance", "log-std", "softplus")
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
EPOCHS = 80
PATIENCE = 10
RUNS, VERDICTS, CURVES = "runs.csv", "verdicts.json", "curves.csv"
TIMES, REPORT = "timing.csv", "report.html"
_INSTEAD = {
    "scale": "scales",
    "learning_rate": "learning_rates",
    "random_state": "seeds",
    "match": "arms",
    "initial_sigma": "arms",
}
"""The arguments that take the place of settings of a single run."""

Progress = Callable[[Unit, int, int, int], None]
"""(unit, epoch or 0 when the unit is done, its runs still training, all runs)."""


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """The results of an experiment; print it."""

    experiment: Experiment
    data: dict[str, Any]
    records: list[dict[str, Any]]
    """One row per trained model."""
    curves: list[dict[str, Any]]
    """One row per model and epoch: held-out ELBO and quantiles of raw outputs."""
    seconds: list[tuple[str, float]]
    """(scale, seconds to train, compilation included) of each unit."""
    verdicts: list[Verdict]
    notes: list[str]
    """Cautions to read before believing the verdicts."""

    @property
    def runs(self) -> "pa.Table":
        """One row per trained model, as an Arrow table: `.to_pandas()`, `.to_pylist()`."""
        import pyarrow as pa

        return pa.Table.from_pylist(plain(self.records))

    @property
    def conclusions(self) -> list[str]:
        """One sentence for each scale."""
        return conclusions(self.verdicts)

    def __repr__(self) -> str:
        return "\n".join([*self.conclusions, *(f"note: {note}" for note in self.notes)])

    def noting(self, notes: list[str]) -> "Comparison":
        """Return these results with further notes."""
        return dataclasses.replace(self, notes=[*self.notes, *notes])

    def write_into(self, folder: Path) -> None:
        """Write runs.csv, curves.csv, timing.csv, verdicts.json and report.html."""
        write_atomically(folder / RUNS, csv_of(self.records))
        write_atomically(folder / CURVES, csv_of(self.curves))
        times = [{"scale": name, "seconds": round(s, 3)} for name, s in self.seconds]
        write_atomically(folder / TIMES, csv_of(times))
        judged = [plain(verdict.as_dict()) for verdict in self.verdicts]
        write_atomically(folder / VERDICTS, run_folder.to_json(judged))
        write_comparison(folder / REPORT, self)


def compare(
    X: Any,
    *,
    scales: Sequence[str] = SCALES,
    learning_rates: Sequence[float] | None = None,
    seeds: int = 8,
    arms: Sequence[str] = ARMS,
    margin: float = 0.2,
    level: float = 0.95,
    splits: int = 1,
    test_data: Any = None,
    condition: Any = None,
    test_condition: Any = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    importance_samples: int = 50,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    n_jobs: int | None = None,
    backend: str | None = None,
    name: str = "",
    progress: Progress = lambda unit, epoch, training, runs: None,
    **settings: Any,
) -> Comparison:
    """Train the same model under several scales, and report the differences.

    Every scale is trained as is (the line of code swapped, all else left) and matched (same first
    σ, same step in log σ), at each learning rate, with the same seeds: same split, order, noise
    and first weights. Runs are compared in pairs with the first scale, the reference, by their
    test ELBO in nats per example at β = 1; best learning rates are chosen on validation rows.

    Args:
        X: a table or an array, as for `VAE.fit`.
        scales: the reference first.
        learning_rates: the grid; (1e-3, 3e-3, 1e-2) unless given. A `learning_rate` that is a
            schedule gives the shape for each of them, or stands alone where no grid is given.
        seeds: runs in each cell, at least 2.
        arms: "as is", "matched" or both.
        margin: nats per example that count as no difference.
        level: confidence that all intervals of a family hold together (Bonferroni).
        splits: random splits of the data; more than one adds the data's randomness.
        test_data: rows to report on; otherwise a share of X.
        condition: what the models are told of each row, as for `VAE.fit`.
        test_condition: that of `test_data`, if it does not have it in columns.
        test_fraction: that share.
        validation_fraction: share of the others that stops runs early and chooses rates.
        importance_samples: per test row, for the log-likelihood.
        out: a folder for runs.csv, verdicts.json and report.html. If a comparison there was
            killed, it is resumed.
        overwrite: replace an earlier comparison there.
        n_jobs: how many fleets of models train at a time, each in a process of its own; -1 is one
            per core. By default the caller's `joblib.parallel_config`, or else one at a time in
            this process. On one machine the results are the same bytes.
        backend: "loky" (processes on this machine), "dask" or "ray", with n_jobs=-1 unless given.
        name: the name of the data in the report.
        progress: called with what is training (`Progress`).
        **settings: any setting of `VAE` but those that the experiment sets; `epochs` is 80 and
            `patience` 10 unless given.

    Returns:
        A `Comparison`: `runs`, `verdicts`, `conclusions`; print it.

    Raises:
        LogvarError: an argument is invalid, or the worker of a unit died twice; one line says
            which and why.

    Example:
        >>> import logvar
        >>> from sklearn.datasets import load_iris
        >>> result = logvar.compare(
        ...     load_iris().data, scales=["log-variance", "log-std"], learning_rates=[0.01],
        ...     seeds=2, latent_dim=2, network="mlp(hidden=[8])", epochs=3)
        >>> [v.verdict for v in result.verdicts if v.arm == "matched"][0]
        'identical by construction'
    """
    check_workers(n_jobs, backend)
    keep_compiled_programs()
    rows, test, table, told = _taken_in(X, condition, test_data, test_condition, settings)
    settings = _with_likelihood_of(table, settings)
    own = own_classes(list(settings.values()))
    recipe = _recipe(settings, name, own, [rows] if test is None else [rows, test], table)
    experiment = Experiment(
        tuple(scales), _rates(learning_rates, recipe), seeds, tuple(arms), float(margin), level,
        splits, test_fraction, validation_fraction, importance_samples, recipe, own, table, told,
    )  # fmt: skip
    _check_sizes(experiment, rows, test)
    data = {"name": name, "rows": len(rows), "shape": list(rows.shape[1:])}
    data |= _fingerprints(rows, test, told)
    work = Work(experiment, rows, test, run_unit)
    if out is None:
        with workers(n_jobs, backend):
            return _run(work, data, None, progress)
    folder = UnfinishedFolder(Path(out), overwrite=overwrite, marker=VERDICTS, keep=True)
    with _keeping_what_is_done(folder):
        begin(folder.path, experiment, data, environment())
        with workers(n_jobs, backend):
            result = _run(work, data, folder.path, progress)
        result = result.noting(notes_of_environments(folder.path))
        result.write_into(folder.path)
        shutil.rmtree(folder.path / PARTS)
    folder.publish()
    return result


@contextlib.contextmanager
def _keeping_what_is_done(folder: UnfinishedFolder) -> Iterator[None]:
    """Leave the folder of a comparison that is cut short, to be resumed; remove it if no unit is
    finished."""
    try:
        yield
    except BaseException:
        folder.leave() if any((folder.path / PARTS).glob("*.json")) else folder.discard()
        raise


def _taken_in(
    X: Any, condition: Any, test_data: Any, test_condition: Any, settings: dict[str, Any]
) -> tuple[SomeRows, SomeRows | None, TableForm | None, Told | None]:
    """Return X and the rows to report on as rows, the form of their table, and their conditions.

    Raises:
        LogvarError: they cannot be read, or not alike.
    """
    text, layer = _likelihood(settings), str(settings.get("layer", ""))
    names = names_of(condition)
    given = taken_in(X, text, settings.get("schema"), layer=layer, conditions=names)
    told = told_first(given, X, condition)
    others, told = taken_in_beside(test_data, test_condition, "test", given, told, layer)
    rows, test = given.rows, None if others is None else others.rows
    if test is not None:
        if test.shape[1:] != rows.shape[1:]:
            raise LogvarError(f"test_data has examples of {test.shape[1:]}, X of {rows.shape[1:]}")
        if isinstance(test, SparseRows) != isinstance(rows, SparseRows):
            raise LogvarError("X or test_data is sparse and the other is not: give both alike")
    return rows, test, given.form, told


def _likelihood(settings: dict[str, Any]) -> str:
    return str(settings.get("likelihood", AUTO))


def _with_likelihood_of(table: TableForm | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe, with the likelihood of a table in place of "auto".

    It is found from all rows: a split may look otherwise.
    """
    text = _likelihood(settings)
    chosen = None if table is None or not is_auto(text) else likelihood_of(table)
    settings = {name: value for name, value in settings.items() if name != "schema"}
    if chosen is None:
        return settings
    return settings | {"likelihood": resolved("likelihood", text, *chosen)}


def _fingerprints(rows: SomeRows, test: SomeRows | None, told: Told | None) -> dict[str, Any]:
    """Return what identifies the data of a comparison."""
    found: dict[str, Any] = {
        "sha256": fingerprint(rows),
        "test_sha256": "" if test is None else fingerprint(test),
    }
    if told is not None:
        found["condition_sha256"] = [
            fingerprint(each) for each in (told.rows, told.held_out) if each is not None
        ]
    return found


def _recipe(
    settings: dict[str, Any],
    name: str,
    own: tuple[type, ...],
    tables: list[SomeRows],
    table: TableForm | None,
) -> Recipe:
    """Return the recipe that all runs share."""
    for setting in OWN:
        if setting in settings and not _is_schedule(setting, settings[setting]):
            instead = _INSTEAD.get(setting)
            remedy = "leave it out" if instead is None else f"give {instead} instead"
            raise LogvarError(f"compare sets {setting} itself: {remedy}")
    settings = {"epochs": EPOCHS, "patience": PATIENCE} | settings
    recipe = Recipe().replace(**written(settings, own), data=name)
    if CUSTOM in (recipe.training.optimizer, recipe.training.learning_rate):
        raise LogvarError("compare takes optimizers and learning rates by name: give a text")
    likelihood = recipe.model.likelihood
    if not is_auto(likelihood):
        # Settings from the data are taken from all rows: a split may lack a rare category.
        check_columns(tables, table)
        spec = get("likelihood", likelihood, own).decided(*tables)
        recipe = recipe.replace(likelihood=KINDS["likelihood"].describe(spec))
    parts = specs(recipe, own)
    check_fit(parts)
    if parts.objective.sums_out_labels:
        raise LogvarError(
            f"compare got objective {recipe.objective.objective!r}, and its models learn no label: "
            "choose another objective, such as 'elbo'"
        )
    return recipe


def _is_schedule(setting: str, value: Any) -> bool:
    return setting == "learning_rate" and isinstance(value, str)


def _rates(given: Sequence[float] | None, recipe: Recipe) -> tuple[float, ...]:
    """The learning rates to compare at."""
    if given is not None:
        return tuple(map(float, given))
    rate = recipe.training.learning_rate
    return (schedules.get(rate).rate,) if isinstance(rate, str) else LEARNING_RATES


def _check_sizes(experiment: Experiment, rows: SomeRows, test: SomeRows | None) -> None:
    parts = rows_of(experiment, rows, test, 0) if len(rows) > 3 else None
    if parts is None or min(map(len, (parts.train, parts.validation, parts.test))) < 2:
        raise LogvarError(
            f"X has {len(rows)} rows: too few to train, choose and report on separate rows"
        )


def _run(work: Work, data: dict[str, Any], folder: Path | None, progress: Progress) -> Comparison:
    """Run the units that have not run yet, and judge."""
    experiment, here = work.experiment, environment()
    parts = None if folder is None else folder / PARTS
    planned = list(units(experiment, work.X, work.test))
    outcomes: dict[str, Outcome] = {}

    def take(unit: Unit, outcome: Outcome) -> None:
        outcomes[unit.name] = outcome
        progress(unit, 0, 0, experiment.runs)

    def done(unit: Unit, outcome: Outcome, where: dict[str, str]) -> None:
        if folder is not None and parts is not None:
            write_outcome(parts, unit, outcome)
            if where != here:
                record_environment(folder, where)
        take(unit, outcome)

    def tell(unit: Unit, epoch: int, training: int) -> None:
        progress(unit, epoch, training, experiment.runs)

    for unit in planned:
        before = None if parts is None else read_outcome(parts, unit)
        if before is not None:
            take(unit, before)
    lost = run_units(work, [unit for unit in planned if unit.name not in outcomes], done, tell)
    if lost:
        raise _lost(lost, len(planned), folder)
    results = [outcomes[unit.name] for unit in planned]
    records = [line for outcome in results for line in outcome.runs]
    table = Table(experiment, records, np.concatenate([o.row_elbos for o in results]))
    split = work.rows(0)
    verdicts = judge(table, len(split.test) / len(split.train))
    data |= {part: len(getattr(split, part)) for part in ("train", "validation", "test")}
    return Comparison(
        experiment,
        data,
        records,
        [entry for outcome in results for entry in outcome.curves],
        [(unit.scale, outcomes[unit.name].seconds) for unit in planned],
        verdicts,
        warnings(experiment, verdicts, len(split.test)),
    )


def _lost(lost: dict[str, str], planned: int, folder: Path | None) -> LogvarError:
    """Build the error for units whose workers died twice."""
    if folder is None:
        kept = "give out=FOLDER (--out) to keep the others' results"
    else:
        kept = f"{folder} keeps the results of the others; the same command again runs only these"
    return LogvarError(
        f"{len(lost)} of {planned} units are missing, because a worker died twice on each: "
        f"{', '.join(lost)} ({next(iter(lost.values()))}). {kept}; with fewer jobs each worker has "
        "more memory"
    )
