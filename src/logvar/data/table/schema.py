"""A table's schema: what each column is, why, and what its cells may be; kept as TOML."""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logvar.errors import LogvarError, unknown_name

if TYPE_CHECKING:
    from logvar.data.table.frame import Table

KINDS = (
    "real", "positive", "count", "categorical", "ordinal", "binary", "date", "constant",
    "identifier", "label", "condition", "ignored",
)  # fmt: skip
MODELLED = KINDS[:8]
WITH_LEVELS = ("categorical", "ordinal", "binary")
UNKNOWN = ("error", "level")
NUMBERS = ("real", "positive", "count", "date")
UNITS = ("days", "seconds", "milliseconds", "microseconds")

_LONGEST_NAME = 40

Name = str | int | float
Level = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its kind, and what its cells may be.

    A count has a step of 1 and a count or a positive number a `low` of 0, unless others are given.

    Raises:
        LogvarError: the kind is unknown, or another field is impossible.
    """

    name: Name
    kind: str
    reason: str = ""
    """Why it is of this kind, in words."""
    levels: tuple[Level, ...] = ()
    """The levels of a categorical, ordinal or binary column; a cell is the index of its level."""
    step: float = 0.0
    """The resolution of the numbers: 1 for integers, 0.01 for two decimals, 0 if continuous."""
    low: float | None = None
    high: float | None = None
    """No cell is ever sampled below `low` or above `high`."""
    unit: str = ""
    """The unit of dates, times and durations: days, seconds, …"""
    dtype: str = ""
    """Arrow's type, in which the column is given back."""
    value: Level | None = None
    """The value of a constant column."""
    native: str = ""
    """The container's own type, where it is not the usual one for the Arrow type."""
    declared: tuple[Level, ...] = ()
    """All levels of the container's type, where some of them never occur."""
    notation: str = ""
    """How a text file writes its cells, such as 0,00 or DD.MM.YYYY; see `table.notation`."""
    unknown: str = "error"
    """The reading of a level that the model never saw: an "error", or by "level" a missing cell."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of column", self.kind, KINDS)
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if problem := impossible(given):
            raise LogvarError(f"column {str(self.name).strip()!r} {problem}")
        if self.kind == "count" and not self.step:
            object.__setattr__(self, "step", 1.0)
        if self.kind in ("count", "positive") and self.low is None:
            object.__setattr__(self, "low", 0.0)
        object.__setattr__(self, "levels", tuple(self.levels))
        object.__setattr__(self, "declared", tuple(self.declared))

    @property
    def is_modelled(self) -> bool:
        """Whether the model learns the column."""
        return self.kind in MODELLED


FIELDS = tuple(field.name for field in dataclasses.fields(Column))


@dataclasses.dataclass(frozen=True, repr=False)
class Schema:
    """The columns of a table in their order.

    Example:
        >>> schema = Schema((Column("age", "count", "integers from 17 to 90", step=1.0, low=0.0),))
        >>> print(schema)
        1 column, 1 of them modelled
        age  count  integers from 17 to 90
        >>> Schema.from_toml(schema.as_toml()) == schema
        True
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))

    @property
    def names(self) -> tuple[Name, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that the model learns, in the table's order."""
        return tuple(column for column in self.columns if column.is_modelled)

    def __getitem__(self, name: Name) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __contains__(self, column: object) -> bool:
        """Return whether the table has this column, or one of this name."""
        return column in self.names or column in self.columns

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return "\n".join(lines_of(self))

    def as_toml(self) -> str:
        """Return the schema as TOML, a `[[column]]` each, without the fields at their defaults."""
        import tomli_w

        return tomli_w.dumps({"column": [_entry(column) for column in self.columns]})

    @staticmethod
    def from_toml(text: str) -> "Schema":
        """Read what `as_toml` writes.

        Raises:
            LogvarError: the text is no TOML, or a column has no name, no kind or an unknown field.
        """
        entries = entries_of(text)
        for entry in entries:
            if "kind" not in entry:
                raise LogvarError(
                    f"the schema's column {entry['name']!r} has no kind: expected one of "
                    f"{', '.join(KINDS)}"
                )
        return Schema(tuple(map(_column, entries)))


def entries_of(text: str, where: str = "the schema") -> list[dict[str, Any]]:
    """Return the `[[column]]` entries of a schema in TOML, checked.

    Raises:
        LogvarError: no TOML; no name or one name twice; a field that columns do not have.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LogvarError(f"{where} is not valid TOML: {error}; correct that line") from error
    entries = document.get("column")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LogvarError(
            f"{where} has no columns: expected a [[column]] entry with name and kind for each, as "
            "in a run's schema.toml"
        )
    seen = set()
    for number, entry in enumerate(entries, 1):
        if "name" not in entry:
            raise LogvarError(f'{where}: column entry {number} has no name: add name = "…"')
        if entry["name"] in seen:
            raise LogvarError(f"{where} has the column {entry['name']!r} twice: remove one")
        seen.add(entry["name"])
    return [checked(entry, f"{where}, column {entry['name']!r}") for entry in entries]


def checked(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a column's fields in the types of `Column`.

    Raises:
        LogvarError: a field is unknown or of the wrong type, or impossible.
    """
    fields: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in FIELDS:
            raise LogvarError(f"{where}: {unknown_name('field', key, FIELDS)}")
        text = key in ("kind", "reason", "unit", "dtype", "native", "notation", "unknown")
        number = key in ("step", "low", "high")
        a_list = key in ("levels", "declared")
        if (
            (text and not isinstance(value, str))
            or (number and (isinstance(value, bool) or not isinstance(value, int | float)))
            or (a_list and not isinstance(value, list | tuple))
        ):
            expected = "a text" if text else "a number" if number else "a list of levels"
            raise LogvarError(f"{where}: {key} is {value!r}: expected {expected}")
        fields[key] = tuple(value) if a_list else float(value) if number else value
    if "kind" in fields and fields["kind"] not in KINDS:
        raise LogvarError(f"{where}: {unknown_name('kind of column', fields['kind'], KINDS)}")
    if problem := impossible(fields):
        raise LogvarError(f"{where} {problem}")
    return fields


def impossible(fields: Mapping[str, Any]) -> str:
    """Say which of a column's fields no column can have; nothing if all are possible.

    Example:
        >>> impossible({"step": -1.0}), impossible({"step": 0.1})
        ('has step -1: expected a finite number of at least 0', '')
    """
    step, low, high = fields.get("step", 0.0), fields.get("low"), fields.get("high")
    if not 0 <= step < math.inf:
        return f"has step {step:g}: expected a finite number of at least 0"
    if fields.get("kind") == "count" and step % 1:
        return f"has step {step:g} and kind count: expected a whole number"
    for name, end in (("low", low), ("high", high)):
        if end is not None and math.isnan(end):
            return f"has {name} {end}: expected a number; leave it out for no end"
    if low is not None and high is not None and low > high:
        return f"has low {low:g} above high {high:g}: exchange or correct them"
    if fields.get("unit") and fields["unit"] not in UNITS:
        return f"has the {unknown_name('unit', fields['unit'], UNITS)}"
    if fields.get("unknown", "error") not in UNKNOWN:
        return f"has the {unknown_name('value of unknown', fields['unknown'], UNKNOWN)}"
    values = [*fields.get("levels", ()), *(fields.get("declared", ()))]
    values += [] if fields.get("value") is None else [fields["value"]]
    for value in values:
        if not isinstance(value, str | bool | int | float) or value != value:
            return f"has {value!r} as a level or value: expected a text, a number, true or false"
    return ""


def schema_given(given: Any, table: "Table") -> Schema:
    """Return the schema of a table: found, and as given where it is given.

    Args:
        given: None; the path of a TOML file such as a run's schema.toml, of all or some columns; a
            dict from names to kinds or to dicts of a column's fields; or a schema.
        table: the table.

    Raises:
        LogvarError: the file cannot be read, a column is not in the table, or a kind does not fit
            its cells.
    """
    from logvar.data.table.kinds import found

    if given is None:
        return found(table)
    if isinstance(given, str | Path):
        return found(table, given_by_file(given))
    if isinstance(given, Schema):
        return found(table, {column.name: column for column in given})
    if isinstance(given, Mapping):
        return found(table, given)
    raise LogvarError(
        f"schema is {given!r}: expected the path of a TOML file, a dict from names of columns to "
        "kinds, or a Schema"
    )


def as_conditions(schema: Schema, names: Iterable[Name]) -> Schema:
    """Return the schema with these columns as conditions.

    Raises:
        LogvarError: there is no such column.
    """
    for name in names:
        if name not in schema.names:
            raise unknown_name("column", str(name), [str(each) for each in schema.names])
        columns = [
            Column(
                c.name,
                "condition",
                "as given",
                dtype=c.dtype,
                native=c.native,
                notation=c.notation,
            )
            if c.name == name
            else c
            for c in schema
        ]
        schema = dataclasses.replace(schema, columns=tuple(columns))
    return schema


def given_by_file(path: str | Path) -> "dict[Name, Column | dict[str, Any]]":
    """Return what a schema in TOML says of its columns, by name.

    Raises:
        LogvarError: the file cannot be read, or is no schema.
    """
    return {entry["name"]: _whole(entry) for entry in _entries_of_file(Path(path))}


def _entries_of_file(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise LogvarError(
            f"the schema {path} cannot be read ({reason}): give the path of a TOML file such as a "
            "run's schema.toml"
        ) from error
    return entries_of(text, f"the schema {path}")


def _whole(entry: dict[str, Any]) -> "Column | dict[str, Any]":
    """An entry with a dtype was written by `as_toml`, so that what it leaves out is a default."""
    if "kind" in entry and "dtype" in entry:
        return _column(entry)
    return {key: value for key, value in entry.items() if key != "name"}


def _column(entry: Mapping[str, Any]) -> Column:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return Column(**values)


def _entry(column: Column) -> dict[str, Any]:
    entry = {}
    for field in dataclasses.fields(Column):
        value = getattr(column, field.name)
        if field.name in ("name", "kind") or value != field.default:
            entry[field.name] = list(value) if isinstance(value, tuple) else value
    return entry


def lines_of(schema: Schema, at_most: int = 40) -> list[str]:
    """Return the schema as lines of name, kind and reason; many columns are told by kind."""
    columns = schema.columns
    some = len(schema.modelled)
    head = f"{len(columns):,} column{'s' * (len(columns) != 1)}, {some:,} of them modelled"
    if len(columns) <= at_most:
        return [head, *_aligned([(_short(c.name), c.kind, c.reason) for c in columns])]
    rows = []
    for kind in KINDS:
        those = [column for column in columns if column.kind == kind]
        if those:
            names = ", ".join(_short(c.name) for c in those[:3])
            more = f", … {_short(those[-1].name)}" if len(those) > 3 else ""
            rows.append((kind, f"{len(those):,}", f"{names}{more}: {those[0].reason}"))
    return [head, *_aligned(rows)]


def _short(name: Name) -> str:
    """Return a name in one line, however long it is and whatever line breaks it has."""
    text = " ".join(str(name).split())
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [min(max(len(row[i]) for row in rows), 40) for i in range(2)] if rows else []
    return [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {' '.join(c.split())}".rstrip() for a, b, c in rows
    ]
