"""`logvar outliers`: fit a detector, or take a run's model, and write which rows are odd."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logvar.cli.console import console, counted, say
from logvar.cli.fitting import overrides_of
from logvar.cli.inputs import Given, all_rows
from logvar.cli.missing import TOP, check_explains, columns_of, say_lowest
from logvar.cli.outputs import refuse_its_data, write_numbers
from logvar.contamination import AUTO
from logvar.data import sources
from logvar.data.annotated import is_annotated
from logvar.data.paths import absolute
from logvar.data.table.choices import Choices
from logvar.data.table.frame import Table
from logvar.data.table.rows import columns_of_kinds
from logvar.loading import load
from logvar.outliers import OutlierVAE, Scores, offset
from logvar.training.progress import ProgressBar


class Reading(NamedTuple):
    """How DATA is read."""

    data_dir: str | None
    images: Mapping[str, str]
    choices: Choices


def outliers(
    data: str,
    out: Path,
    explain: bool,
    reading: Reading,
    run: Path | None,
    settings: dict[str, Any],
) -> None:
    """Write each row's score and whether it is odd, beside its identifiers."""
    refuse_its_data(out, data)
    if run is None:
        detector, given = _fitted(data, out, explain, reading, settings)
        scores = detector.train_scores_
    else:
        detector, given, scores = _loaded(run, data, out, explain, reading, settings)
    odd = scores < detector.offset_
    cells = detector.explain(given.rows, TOP, detector.n_samples) if explain else []
    numbers, names = scores[:, None], ["log_likelihood"]
    further: dict[Any, Any] = {"odd": odd.astype(int).tolist()}
    if out.suffix.lower() == ".npy":
        numbers, names, further = np.column_stack([scores, odd]), ["log_likelihood", "odd"], {}
    further |= columns_of(cells) if explain else {}
    write_numbers(out, numbers, names, given.identifiers, given.files, further)
    say(
        f"{counted(int(odd.sum()), 'row')} of {len(odd):,} odd: log p(x) below "
        f"{detector.offset_:.2f} nats (contamination {detector.contamination})"
    )
    if explain:
        say_lowest(scores, cells)


def _fitted(
    data: str, out: Path, explain: bool, reading: Reading, settings: dict[str, Any]
) -> tuple[OutlierVAE, Given]:
    """Return a detector that is fitted to all training rows of the data, and these rows."""
    dataset = sources.load(data, reading.data_dir, **reading.images, choices=reading.choices)
    overrides = overrides_of(reading.choices, dataset)
    rows = dataset.train
    if explain:
        check_explains(out, (1,) if isinstance(rows, Table) else rows.shape[1:])
    for note in dataset.notes:
        say(note)
    told = reading.choices.conditions if is_annotated(rows) else None
    detector = OutlierVAE(**settings, schema=overrides)
    epochs = detector.epochs_for(len(rows))
    with ProgressBar(console, epochs, len(rows), lambda metrics: None) as bar:
        detector.fit(rows, condition=told or None, source=absolute(data), announce=say, watcher=bar)
    form = detector.fitted_.table
    identifiers = None
    if isinstance(rows, Table) and form is not None:
        identifiers = columns_of_kinds(rows, form.schema, ("identifier",))
    return detector, Given(rows, dataset.names, identifiers, None)


def _loaded(
    run: Path, data: str, out: Path, explain: bool, reading: Reading, settings: dict[str, Any]
) -> tuple[OutlierVAE, Given, Scores]:
    """Return a run as a detector, the rows, and their scores.

    Its own threshold is used if it has one and no contamination is given; otherwise the threshold
    is found from these rows.
    """
    vae = load(run)
    contamination = settings["contamination"]
    keeps = isinstance(vae, OutlierVAE) and contamination == AUTO
    detector = vae if isinstance(vae, OutlierVAE) else OutlierVAE.of(vae.fitted_)
    detector.n_samples = settings["n_samples"]
    if explain:
        check_explains(out, detector.fitted_.shape)
    given = all_rows(detector, data, reading.data_dir)
    scores = detector.score_samples(given.rows)
    if not keeps:
        detector.contamination = contamination
        detector.offset_ = offset(scores, contamination)
    return detector, given, scores
