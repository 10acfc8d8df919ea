"""`logvar evaluate`, `report` and `doctor`: their flags."""

from pathlib import Path
from typing import Annotated

import tyro

from logvar.cli.arguments import DataDir, OwnData, Run
from logvar.cli.terminal import check_given
from logvar.errors import LogvarError
from logvar.storage.files import unfinished


def evaluate(
    run: Run,
    data: OwnData = None,
    /,
    data_dir: DataDir = None,
    importance_samples: Annotated[int, tyro.conf.arg(help="samples per row")] = 100,
    factors: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="FILE",
            help="a table with a row for each row judged and a column for each factor it was made "
            "from, or `shapes` for those of the built-in data: adds scores of disentanglement",
        ),
    ] = None,
) -> None:
    """Print ELBO, log-likelihood and the rest, each with its protocol.

    Example: logvar evaluate runs/digits
    """
    check_given(run, data)
    from logvar.cli import judging

    judging.evaluate(run, data, data_dir, importance_samples, factors)


def report(
    run: Run,
    data: OwnData = None,
    /,
    data_dir: DataDir = None,
    importance_samples: Annotated[
        int | None, tyro.conf.arg(help="samples per row; default: as the run was evaluated")
    ] = None,
) -> None:
    """Draw a run's report again.

    Example: logvar report runs/digits
    """
    check_given(run, data)
    from logvar.cli import judging

    judging.report(run, data, data_dir, importance_samples)


def doctor(
    run: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="a run folder")
    ] = None,
    data: OwnData = None,
    /,
    environment: Annotated[
        bool, tyro.conf.arg(help="describe versions, processor and kernels; needs no run")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Check a run, finished or not, and say what is wrong: exit code 1 if something is.

    Example: logvar doctor runs/digits
    """
    if run is None and not environment:
        raise LogvarError("got no run: give RUN, or --environment")
    if run is not None and not unfinished(run).is_dir():
        check_given(run, data)
    from logvar.cli import judging

    judging.doctor(run, data, data_dir, environment)
