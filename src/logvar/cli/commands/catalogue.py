"""`logvar scales` and `logvar parts`: their flags."""

from pathlib import Path
from typing import Annotated

import tyro

from logvar.cli.terminal import check_given


def scales(
    names: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="scales")
    ] = (),
    /,
    code: Annotated[
        str | None,
        tyro.conf.arg(metavar="FRAMEWORK", help="its code for numpy, jax, torch or tensorflow"),
    ] = None,
    plot: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help="draw them: .png, .svg or .pdf")
    ] = None,
    run: Annotated[
        Path | None, tyro.conf.arg(metavar="RUN", help="draw a run's raw outputs beneath")
    ] = None,
) -> None:
    """List the scale parameterizations, or show facts, code or a plot of some of them.

    Example: logvar scales softplus --code torch
    """
    if run is not None and plot is not None:
        check_given(run)
    from logvar.cli import scales as scale_commands

    scale_commands.show(names, code, plot, run)


def parts(
    kind: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="KIND", help="prior, samplers, presets, …; by default all but presets"
        ),
    ] = None,
    name: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="NAME", help="one part in full, such as mixture"),
    ] = None,
    /,
) -> None:
    """List the parts that a model can use, with settings, formulas and sources.

    Example: logvar parts prior mixture
    """
    from logvar.cli import parts as catalogue

    catalogue.show(kind, name)
