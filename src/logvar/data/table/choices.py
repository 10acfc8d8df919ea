"""A user's choices for a table: whether its file has a header, and what its columns are."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from logvar.data.table.schema import KINDS, Column, Name, given_by_file
from logvar.errors import LogvarError, unknown_name
from logvar.recipe import DataSettings

HEADERS = ("auto", "yes", "no")


@dataclasses.dataclass(frozen=True)
class Choices:
    """The choices of one run; its recipe keeps them.

    Args:
        header: whether the first row of a .csv file has the names: yes, no or auto.
        schema: the path of a schema in TOML, of all or some columns.
        kinds: the kinds of some columns by their names; they go before those of `schema`.

    Raises:
        LogvarError: a kind or `header` is unknown.

    Example:
        >>> choices = Choices(kinds={"zip": "categorical"})
        >>> choices.overrides()
        {'zip': {'kind': 'categorical'}}
        >>> Choices.of(DataSettings(**choices.as_settings())) == choices
        True
    """

    header: str = "auto"
    schema: str = ""
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.header not in HEADERS:
            raise unknown_name("header", self.header, HEADERS)
        for name, kind in self.kinds.items():
            if kind not in KINDS:
                raise LogvarError(f"column {name!r}: {unknown_name('kind', kind, KINDS)}")

    @classmethod
    def of(cls, settings: DataSettings) -> "Choices":
        """Return the choices that a recipe keeps."""
        kinds = json.loads(settings.kinds) if settings.kinds else {}
        return cls(settings.header, settings.schema, kinds)

    def as_settings(self) -> dict[str, str]:
        """Return the choices as settings of a recipe."""
        kinds = json.dumps(dict(self.kinds), ensure_ascii=False) if self.kinds else ""
        return {"header": self.header, "schema": self.schema, "kinds": kinds}

    def overrides(self) -> dict[Name, Any]:
        """Return what is said of columns, as `VAE(schema=…)` takes it.

        Raises:
            LogvarError: the file of the schema cannot be read.
        """
        given = given_by_file(self.schema) if self.schema else {}
        return given | {name: {"kind": kind} for name, kind in self.kinds.items()}

    @property
    def conditions(self) -> list[Name]:
        """The columns that are said to be a condition."""
        return [name for name, kind in self.said().items() if kind == "condition"]

    def said(self) -> dict[Name, str]:
        """Return the kinds of the columns whose kind is given."""
        given = self.overrides()
        kinds = {
            name: what.kind if isinstance(what, Column) else what.get("kind", "")
            for name, what in given.items()
        }
        return {name: kind for name, kind in kinds.items() if kind}
