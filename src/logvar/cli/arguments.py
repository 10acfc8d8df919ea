"""Arguments shared by commands, and the recipe's settings as flags."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from logvar.recipe import Recipe, preset

Data = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="DATA",
        help="digits, mnist, a .npy .npz .csv .parquet file, or a folder of images or IDX files",
    ),
]
OwnData = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="DATA", help="data; by default what the run was fitted on"),
]
Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="a run folder")]
Out = Annotated[Path, tyro.conf.arg(metavar="FILE", help="a .npy, .csv or .parquet file")]
Pictures = Annotated[
    Path,
    tyro.conf.arg(
        metavar="FILE|FOLDER",
        help="a .npy, .csv or .parquet file; of images also a new folder of PNG files, or one .png",
    ),
]
DataDir = Annotated[
    str | None, tyro.conf.arg(metavar="DIR", help="where mnist is; otherwise LOGVAR_DATA")
]


def _flags(name: str, without: tuple[str, ...] = ()) -> type:
    """Return the recipe's settings as flags, so that they are declared in the recipe only."""
    fields = []
    for section in dataclasses.fields(Recipe):
        for field in dataclasses.fields(section.default):  # type: ignore[arg-type]
            if field.name in ("data", "reading", *without):
                continue
            kind, text = field.type.__origin__, field.type.__metadata__[0]  # type: ignore[union-attr]
            flag_name = "seed" if field.name == "random_state" else None
            flag = Annotated[kind, tyro.conf.arg(help=text, name=flag_name)]  # type: ignore[valid-type]
            fields.append((field.name, flag, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(name, fields, frozen=True)


Settings = _flags("Settings")
# The settings that `logvar compare` sets itself; a test keeps it equal to study.experiment.OWN.
ComparedSettings = _flags(
    "ComparedSettings",
    (
        "scale", "random_state", "initial_sigma", "match", "validation_fraction",
        "on_divergence",
    ),
)  # fmt: skip


def defaults() -> Any:
    """Return the defaults of the flags of fit: those of --preset if it is given."""
    arguments = sys.argv[1:]
    chosen = [
        following if argument == "--preset" else argument.removeprefix("--preset=")
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
        if argument == "--preset" or argument.startswith("--preset=")
    ]
    recipe = preset(chosen[-1]) if chosen else Recipe()
    settings = recipe.flat()
    return Settings(**{f.name: settings[f.name] for f in dataclasses.fields(Settings)})
