"""`logvar outliers`: fit a detector, or take a run's model, and write which rows are odd."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logvar.cli.blocks import Block, over_blocks
from logvar.cli.console import console, counted, say
from logvar.cli.fitting import overrides_of
from logvar.cli.inputs import Given, all_rows, rows_of_all
from logvar.cli.missing import ODD_CELLS, TOP, Lowest, check_explains, columns_of
from logvar.cli.outputs import Numbers, refuse_its_data
from logvar.data import sources
from logvar.data.annotated import is_annotated
from logvar.data.paths import absolute
from logvar.data.table.choices import Choices
from logvar.data.table.frame import Table
from logvar.data.table.large import LargeTable
from logvar.errors import OutsideTrainingRange
from logvar.explaining import OddCell
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
        detector, given, scores = _fitted(data, out, explain, reading, settings)
    else:
        detector, given, scores = _loaded(run, data, out, explain, reading, settings)
    odd = scores < detector.offset_
    alone = out.suffix.lower() == ".npy"
    names = ["log_likelihood", "odd"] if alone else ["log_likelihood"]

    def write(blocks: Iterator[Block]) -> Lowest:
        lowest = Lowest()
        with Numbers(out, len(given), names) as file:
            for block in blocks:
                some = slice(block.start, block.stop)
                cells = _explained(detector, block) if explain else []
                further: dict[Any, Any] = {} if alone else {"odd": odd[some].astype(int)}
                numbers = np.column_stack([scores[some], odd[some]]) if alone else scores[some]
                further |= columns_of(cells) if explain else {}
                file.append(numbers, block.identifiers, further)
                lowest.look_at(scores[some], cells, block.start)
        return lowest

    lowest = over_blocks(given, detector.fitted_, write, ODD_CELLS if explain else 1)
    say(
        f"{counted(int(odd.sum()), 'row')} of {len(odd):,} odd: log p(x) below "
        f"{detector.offset_:.2f} nats (contamination {detector.contamination})"
    )
    if explain:
        lowest.say()


def _explained(detector: OutlierVAE, block: Block) -> list[list[OddCell]]:
    """Return the oddest cells of some rows; that rows are far out is what is sought."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTrainingRange)
        return detector.explain(block.taken, TOP, detector.n_samples)


def _fitted(
    data: str, out: Path, explain: bool, reading: Reading, settings: dict[str, Any]
) -> tuple[OutlierVAE, Given, Scores]:
    """Return a detector fitted to the data's training rows, all rows, and their scores."""
    dataset = sources.load(data, reading.data_dir, **reading.images, choices=reading.choices)
    overrides = overrides_of(reading.choices, dataset)
    rows = dataset.train
    if explain:
        check_explains(out, (1,) if isinstance(rows, Table | LargeTable) else rows.shape[1:])
    for note in dataset.notes:
        say(note)
    told = reading.choices.conditions if is_annotated(rows) else None
    detector = OutlierVAE(**settings, schema=overrides)
    epochs = detector.epochs_for(len(rows))
    with ProgressBar(console, epochs, len(rows), lambda metrics: None) as bar:
        detector.fit(rows, condition=told or None, source=absolute(data), announce=say, watcher=bar)
    scores = detector.train_scores_
    given = rows_of_all(dataset, data, reading.choices)
    if dataset.test is not None:
        test = Given((dataset.test,), data)
        scores = np.concatenate([scores, over_blocks(test, detector.fitted_, _scored(detector))])
    return detector, given, scores


def _loaded(
    run: Path, data: str, out: Path, explain: bool, reading: Reading, settings: dict[str, Any]
) -> tuple[OutlierVAE, Given, Scores]:
    """Return a run as a detector, the rows, and their scores.

    Its own threshold is used if it has one and nothing is given that changes it; otherwise the
    threshold is found from these rows.
    """
    vae = load(run)
    detector = vae if isinstance(vae, OutlierVAE) else OutlierVAE.of(vae.fitted_)
    # The run's own number unless another is given: its threshold is one of scores with that.
    samples = settings.get("n_samples", detector.n_samples)
    keeps = isinstance(vae, OutlierVAE) and "contamination" not in settings
    if keeps and samples != detector.n_samples:
        keeps = False
        say(
            f"the threshold of {run} is of scores with {detector.n_samples} samples, and these are "
            f"with {samples}: it is found from these rows"
        )
    detector.n_samples = samples
    if explain:
        check_explains(out, detector.fitted_.shape)
    given = all_rows(detector, data, reading.data_dir)
    scores = over_blocks(given, detector.fitted_, _scored(detector))
    if not keeps:
        detector.contamination = settings.get("contamination", detector.contamination)
        detector.offset_ = offset(scores, detector.contamination)
    return detector, given, scores


def _scored(detector: OutlierVAE) -> Callable[[Iterator[Block]], Scores]:
    """Return what scores the rows of blocks."""

    def scored(blocks: Iterator[Block]) -> Scores:
        return np.concatenate([detector.score_samples(block.taken) for block in blocks])

    return scored
