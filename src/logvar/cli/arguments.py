"""Arguments shared by commands, and the recipe's settings as flags."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from logvar.data.table.choices import Choices
from logvar.errors import LogvarError
from logvar.recipe import Recipe, preset
from logvar.recipe.settings import OF_THE_SOURCE, DataSettings

Data = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="DATA",
        help="digits, mnist, shapes, a table (.csv .tsv .csv.gz .parquet .arrow), a .npy or .npz "
        "file, cells (.h5ad), a folder of images or IDX files, or several files by a pattern in "
        "quotes: 'shard-*.npy'",
    ),
]
OwnData = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="DATA", help="data; by default what the run was fitted on"),
]
Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="a run folder")]
Out = Annotated[
    Path, tyro.conf.arg(metavar="FILE", help="a .csv, .tsv, .parquet, .arrow or .npy file")
]
Pictures = Annotated[
    Path,
    tyro.conf.arg(
        metavar="FILE|FOLDER",
        help="a .csv, .tsv, .parquet, .arrow or .npy file; of images also a new folder of PNG "
        "files, or one .png",
    ),
]
DataDir = Annotated[
    str | None, tyro.conf.arg(metavar="DIR", help="where mnist is; otherwise LOGVAR_DATA")
]
Seed = Annotated[int | None, tyro.conf.arg(help="default: the run's own")]


def _help(name: str) -> str:
    """Return what the recipe says of a setting of the data."""
    fields = {field.name: field for field in dataclasses.fields(DataSettings)}
    return str(fields[name].type.__metadata__[0])  # type: ignore[union-attr]


def _names(name: str, what: str, metavar: str = "NAME") -> Any:
    """Return the type of a flag with one or more names, which may come several times."""
    return Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(name=name, metavar=metavar, help=what),
    ]


@dataclasses.dataclass(frozen=True)
class Source:
    """How DATA is read."""

    kind: _names("kind", "what a column is, as in age=real", "NAME=KIND") = ()  # type: ignore[valid-type]
    drop: _names("drop", "columns to leave out") = ()  # type: ignore[valid-type]
    identifier: _names("id", "columns that name the rows: carried, not modelled") = ()  # type: ignore[valid-type]
    label: _names("label", "columns of labels: carried, not modelled") = ()  # type: ignore[valid-type]
    condition: _names("condition", "columns that the model is told of each row") = ()  # type: ignore[valid-type]
    schema: Annotated[str, tyro.conf.arg(metavar="FILE", help=_help("schema"))] = ""
    header: Annotated[Literal["auto", "yes", "no"], tyro.conf.arg(help=_help("header"))] = "auto"
    resize: Annotated[str, tyro.conf.arg(help=_help("resize"))] = ""
    shape: Annotated[str, tyro.conf.arg(help=_help("shape"))] = ""
    layer: Annotated[str, tyro.conf.arg(metavar="NAME", help=_help("layer"))] = ""

    @property
    def images(self) -> dict[str, str]:
        """The recipe's settings of images and of AnnData."""
        return {"resize": self.resize, "shape": self.shape, "layer": self.layer}

    def choices(self) -> Choices:
        """Return what is said of a table, checked as far as it can be without the table.

        Raises:
            LogvarError: a kind is unknown, a column gets two, or the schema cannot be read.
        """
        pairs = [_pair(text) for some in self.kind for text in some]
        for kind, flags in (
            ("ignored", self.drop), ("identifier", self.identifier), ("label", self.label),
            ("condition", self.condition),
        ):  # fmt: skip
            pairs += [(name, kind) for some in flags for name in some]
        kinds: dict[str, str] = {}
        for name, kind in pairs:
            if kinds.setdefault(name, kind) != kind:
                raise LogvarError(
                    f"column {name!r} was given two kinds, {kinds[name]} and {kind}: give it one"
                )
        found = Choices(self.header, self.schema and os.path.abspath(self.schema), kinds)
        found.overrides()
        return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not (name and equals and kind):
        raise LogvarError(f"--kind {text!r}: expected NAME=KIND, as in --kind age=real")
    return name, kind


def _flags(name: str, without: tuple[str, ...] = ()) -> type:
    """Return the recipe's settings as flags, so that they are declared in the recipe only."""
    fields = []
    for section in dataclasses.fields(Recipe):
        for field in dataclasses.fields(section.default):  # type: ignore[arg-type]
            if field.name in (*OF_THE_SOURCE, *without):
                continue
            kind, text = field.type.__origin__, field.type.__metadata__[0]  # type: ignore[union-attr]
            flag_name = {"random_state": "seed", "from_run": "from"}.get(field.name)
            flag = Annotated[kind, tyro.conf.arg(help=text, name=flag_name)]  # type: ignore[valid-type]
            fields.append((field.name, flag, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(name, fields, frozen=True)


Settings = _flags("Settings")
# The settings that `logvar compare` sets itself; a test keeps it equal to study.experiment.OWN.
ComparedSettings = _flags(
    "ComparedSettings",
    (
        "scale", "random_state", "initial_sigma", "match", "validation_fraction",
        "on_divergence", "from_run", "window", "shards",
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
