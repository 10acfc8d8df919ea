"""`logvar convert`: its flags."""

from pathlib import Path
from typing import Annotated

import tyro

from logvar.cli.arguments import DataDir, OwnData, Run
from logvar.cli.terminal import check_given


def convert(
    run: Run,
    data: OwnData = None,
    /,
    *,
    scale: Annotated[str, tyro.conf.arg(help="the new scale")],
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help="the new run folder; default RUN-SCALE")
    ] = None,
    overwrite: Annotated[bool, tyro.conf.arg(help="replace an earlier run there")] = False,
    match: Annotated[
        bool, tyro.conf.arg(help="within the log family, train on as under the old scale")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Convert a run to another scale, weights and optimizer, and print what that changes.

    Example: logvar convert runs/digits --scale log-std
    """
    check_given(run, data)
    from logvar.cli import converting

    converting.convert(run, data, data_dir, scale, out, overwrite, match)
