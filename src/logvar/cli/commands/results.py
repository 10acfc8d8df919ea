"""The flags of `logvar encode`, `decode`, `reconstruct`, `sample`, `predict`, `score`, `impute`."""

from pathlib import Path
from typing import Annotated

import tyro

from logvar.cli.arguments import DataDir, Out, OwnData, Pictures, Run, Seed
from logvar.cli.pairs import pairs_of
from logvar.cli.terminal import check_given
from logvar.data.paths import check_readable, check_writable

Condition = Annotated[
    str | None,
    tyro.conf.arg(metavar="NAME=VALUE,…", help="what a conditional model is told of all rows"),
]


def encode(run: Run, data: OwnData = None, /, *, out: Out, data_dir: DataDir = None) -> None:
    """Write the posterior means of DATA, beside the identifiers and labels of a table.

    Example: logvar encode runs/digits digits --out codes.csv
    """
    check_writable(out)
    check_given(run, data)
    from logvar.cli import results

    results.encode(run, data, data_dir, out)


def decode(
    run: Run,
    latents: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="LATENTS", help="as encode wrote them")
    ],
    /,
    *,
    out: Pictures,
    condition: Condition = None,
) -> None:
    """Decode latents to E[x | z].

    Example: logvar decode runs/digits codes.csv --out decoded.npy
    """
    check_writable(out, pictures=True)
    check_given(run, str(latents))
    told = None if condition is None else pairs_of(condition, "--condition")
    from logvar.cli import results

    results.decode(run, latents, out, told)


def reconstruct(
    run: Run, data: OwnData = None, /, *, out: Pictures, data_dir: DataDir = None
) -> None:
    """Encode and decode DATA; images may become PNG files in a folder, under their names.

    Example: logvar reconstruct runs/digits digits --out reconstructions.npy
    """
    check_writable(out, pictures=True)
    check_given(run, data)
    from logvar.cli import results

    results.reconstruct(run, data, data_dir, out)


def sample(
    run: Run,
    /,
    *,
    out: Pictures,
    n: Annotated[int, tyro.conf.arg(help="how many")] = 100,
    where: Annotated[
        str | None,
        tyro.conf.arg(metavar="NAME=VALUE,…", help="cells of a table that all rows are to have"),
    ] = None,
    condition: Condition = None,
    mean: Annotated[bool, tyro.conf.arg(help="write E[x | z] instead of a draw of x")] = False,
    sampler: Annotated[
        str,
        tyro.conf.arg(
            name="from",
            metavar="SAMPLER",
            help="where z is from: prior, mixture(components=10), flow or two-stage. One that the "
            "run does not have is fitted to its training rows, and kept in the run",
        ),
    ] = "prior",
    missing: Annotated[
        bool, tyro.conf.arg(help="leave cells of a table empty as those of the training rows are")
    ] = False,
    label: Annotated[
        str | None, tyro.conf.arg(help="of a run that has learned a label: draw of this one")
    ] = None,
    seed: Seed = None,
) -> None:
    """Draw new examples from the model; images may become PNG files in a folder, or one .png.

    Example: logvar sample runs/adult --where "sex=Female, age=40" --n 1000 --out new.csv
    """
    check_writable(out, pictures=True)
    check_given(run)
    given = None if where is None else pairs_of(where)
    told = None if condition is None else pairs_of(condition, "--condition")
    from logvar.cli import results

    results.sample(run, out, n, mean, missing, seed, given, sampler, label, told)


def predict(run: Run, data: OwnData = None, /, *, out: Out, data_dir: DataDir = None) -> None:
    """Write the probability of each label for the rows of DATA, and the most probable label.

    The run has learned a label: logvar fit adult.csv --label income --objective labelled.
    Example: logvar predict runs/adult new.csv --out labels.csv
    """
    check_writable(out)
    check_given(run, data)
    from logvar.cli import labels

    labels.predict(run, data, data_dir, out)


def score(
    run: Run,
    data: OwnData = None,
    /,
    *,
    out: Out,
    explain: Annotated[
        bool, tyro.conf.arg(help="add the three oddest cells of each row, in nats")
    ] = False,
    data_dir: DataDir = None,
    importance_samples: Annotated[int, tyro.conf.arg(help="samples per row")] = 100,
) -> None:
    """Write each row's log-likelihood of DATA, in nats; anomalies have low values.

    Missing cells are left out of it. Example: logvar score runs/adult new.csv --out scores.csv
    """
    check_writable(out)
    check_given(run, data)
    from logvar.cli import missing

    missing.score(run, data, data_dir, out, explain, importance_samples)


def impute(
    run: Run,
    data: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="DATA", help="rows with missing cells: empty, ?, NA, NaN …"),
    ],
    /,
    *,
    out: Out,
    draws: Annotated[
        int,
        tyro.conf.arg(
            metavar="M", help="write M copies with random draws instead, FILE-1 … FILE-M"
        ),
    ] = 0,
    samples: Annotated[int, tyro.conf.arg(metavar="N", help="samples of z per row")] = 1000,
    data_dir: DataDir = None,
    seed: Seed = None,
) -> None:
    """Fill the missing cells of DATA: with their means and likeliest levels, or with draws.

    Example: logvar impute runs/adult holes.csv --out whole.csv
    """
    check_writable(out)
    check_readable(data)
    check_given(run)
    from logvar.cli import missing

    missing.impute(run, data, data_dir, out, draws, samples, seed)
