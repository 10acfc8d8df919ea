"""`logvar outliers`: its flags."""

from pathlib import Path
from typing import Annotated

import tyro

from logvar.cli.arguments import Data, DataDir, Out, Source
from logvar.cli.terminal import at_least_one, check_given
from logvar.contamination import check_contamination
from logvar.data.paths import check_readable, check_writable
from logvar.errors import LogvarError

_NOTHING_SAID = Source()


def outliers(
    data: Data,
    /,
    *,
    out: Out,
    source: tyro.conf.OmitArgPrefixes[Source] = _NOTHING_SAID,
    run: Annotated[
        Path | None, tyro.conf.arg(metavar="RUN", help="score with this run instead of fitting")
    ] = None,
    contamination: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="SHARE",
            help="the share of odd rows, above 0 and at most 0.5; auto: those far below the "
            "lower quartile; default: auto, or the run's own threshold",
        ),
    ] = None,
    explain: Annotated[
        bool, tyro.conf.arg(help="add the three oddest cells of each row, in nats")
    ] = False,
    objective: Annotated[
        str | None,
        tyro.conf.arg(help="'trimmed(fraction=0.1)' if a tenth of the rows may be anomalies"),
    ] = None,
    steps: Annotated[int | None, tyro.conf.arg(help="optimizer steps, at least")] = None,
    importance_samples: Annotated[
        int | None, tyro.conf.arg(help="samples per row; default: 100, or the run's own number")
    ] = None,
    seed: Annotated[
        int | None, tyro.conf.arg(help="seed of everything random when fitting; default: 0")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the score of each row of DATA, log p(x) in nats, and whether the row is odd.

    Example: logvar outliers sensor.csv --out odd.csv --explain
    """
    check_writable(out)
    check_readable(data)
    share = None if contamination is None else _share(contamination)
    if importance_samples is not None:
        at_least_one("--importance-samples", importance_samples)
    given = {"objective": objective, "steps": steps, "random_state": seed}
    given = {name: value for name, value in given.items() if value is not None}
    if run is not None:
        check_given(run)
        if given or source != _NOTHING_SAID:
            raise LogvarError(
                f"--run {run} is already trained and reads DATA as it was fitted: leave out "
                "--objective, --steps, --seed, and flags such as --kind, --drop, --schema or "
                "--resize"
            )
    choices = source.choices()
    from logvar.cli import outliers as commands

    settings = given if share is None else given | {"contamination": share}
    if importance_samples is not None:
        settings["n_samples"] = importance_samples
    reading = commands.Reading(data_dir, source.images, choices)
    commands.outliers(data, out, explain, reading, run, settings)


def _share(text: str) -> float | str:
    """Return a share, or "auto"."""
    try:
        share: float | str = float(text)
    except ValueError:
        share = text
    check_contamination(share, "--contamination")
    return share
