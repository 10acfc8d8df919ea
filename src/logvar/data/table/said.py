"""Check a user's schema of a table against its cells."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logvar.data.table.cells import as_numbers
from logvar.data.table.frame import Table
from logvar.data.table.levels import key_of
from logvar.data.table.number import rounded
from logvar.data.table.schema import (
    KINDS,
    NUMBERS,
    WITH_LEVELS,
    Column,
    Level,
    Name,
    Schema,
    checked,
    given_by_file,
    impossible,
)
from logvar.errors import LogvarError, unknown_name

_OF_THE_TABLE = ("dtype", "native", "notation", "declared")
"""Fields that are never taken from a schema of another table."""
OF_NUMBERS = ("step", "low", "high", "unit")
"""Fields that only columns of numbers have."""


def fields_of(table: Table, overrides: Mapping[Name, Any]) -> dict[Name, dict[str, Any]]:
    """Return the fields given for each column, by the table's own names.

    Args:
        table: the table.
        overrides: for some columns their kind, a dict of a column's fields, or a `Column`.

    Raises:
        LogvarError: a column is not there, or a kind, a field or its value is impossible.
    """
    by_text = {str(name).strip(): name for name in table.names}
    given: dict[Name, dict[str, Any]] = {}
    for asked, what in overrides.items():
        name = asked if asked in table.names else by_text.get(str(asked).strip())
        if name is None:
            error = unknown_name("column", asked, [str(n) for n in table.names[:50]])
            raise LogvarError(
                f"the schema, or a flag, names a column that is not in the table: {error}"
            )
        if isinstance(what, Column):
            fields = _of_column(what)
        elif isinstance(what, str):
            if what not in KINDS:
                error = unknown_name("kind of column", what, KINDS)
                raise LogvarError(f"column {asked!r}: {error}")
            fields = {"kind": what}
        elif isinstance(what, Mapping):
            fields = checked(what, f"column {asked!r}")
            fields = {key: value for key, value in fields.items() if key not in _OF_THE_TABLE}
            fields = _without_empty(fields)
        else:
            raise LogvarError(
                f"column {asked!r} is given as {what!r}: expected a kind, as text, a dict of "
                "fields or a Column"
            )
        given[name] = fields | {"name": name}
    return given


def says_again(given: object, schema: Schema) -> bool:
    """Return whether what a user says of columns is what a schema has for them already.

    Args:
        given: as `schema_given` takes it.
        schema: that of an earlier run.

    Raises:
        LogvarError: the file that is given cannot be read.

    Example:
        >>> schema = Schema((Column("age", "count", ""), Column("batch", "condition", "")))
        >>> says_again({"batch": "condition"}, schema), says_again({"age": "real"}, schema)
        (True, False)
    """
    if isinstance(given, Schema):
        return given == schema
    if isinstance(given, str | Path):
        given = given_by_file(given)
    if not isinstance(given, Mapping):
        return False
    columns = {str(column.name).strip(): column for column in schema}

    def again(name: Name, what: object) -> bool:
        column = columns.get(str(name).strip())
        if isinstance(what, Column) or column is None:
            return what == column
        fields = what if isinstance(what, Mapping) else {"kind": what}
        return all(
            getattr(column, field, None) == (tuple(value) if isinstance(value, list) else value)
            for field, value in fields.items()
        )

    return all(again(name, what) for name, what in given.items())


def _of_column(column: Column) -> dict[str, Any]:
    """Return the fields of a whole column, without what its kind has no use for.

    Whoever changes a kind in a schema's file leaves the other fields as they were.
    """
    fields = {
        field.name: getattr(column, field.name)
        for field in dataclasses.fields(Column)
        if field.name not in _OF_THE_TABLE
    }
    fields = _without_empty(fields)
    of_others = {
        "levels": column.kind not in WITH_LEVELS,
        "value": column.kind != "constant",
        **{name: column.kind not in NUMBERS for name in OF_NUMBERS},
    }
    return {name: value for name, value in fields.items() if not of_others.get(name)}


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields without those that are empty and can be found from the cells."""
    found = ("levels", "unit", "value", "reason")
    return {
        k: value for k, value in fields.items() if k not in found or value not in ((), "", None)
    }


def check_fits(found: Column, fields: Mapping[str, Any]) -> None:
    """Check that fields fit the kind of their column, found or given, and its value.

    Raises:
        LogvarError: one is for another kind, or contradicts the cells.
    """
    levels = fields.get("levels", ())
    if levels and found.kind not in WITH_LEVELS:
        raise LogvarError(
            f"has levels in the schema, and its kind is {found.kind} ({found.reason}): give it "
            "the kind categorical, ordinal or binary, too"
        )
    if found.kind == "binary" and fields.get("kind") == "binary" and len(levels) > 2:
        raise LogvarError(f"has kind binary, and {len(levels)} levels in the schema: expected 2")
    times = Counter(map(key_of, levels))
    if twice := [level for level in levels if times[key_of(level)] > 1]:
        raise LogvarError(f"has the level {twice[0]!r} twice in the schema: remove one")
    value = fields.get("value")
    if value is not None:
        if found.kind != "constant":
            raise LogvarError(
                f"has a value in the schema, which is for constants, and its kind is {found.kind} "
                f"({found.reason}): leave out value"
            )
        if found.value is not None and key_of(value) != key_of(found.value):
            raise LogvarError(
                f"is always {found.value!r}, and its value in the schema is {value!r}: correct "
                "the schema or the cells"
            )


def with_fields(found: Column, fields: Mapping[str, Any]) -> Column:
    """Return a column with these fields.

    Raises:
        LogvarError: they contradict each other, or those of the column.
    """
    whole = {field.name: getattr(found, field.name) for field in dataclasses.fields(Column)}
    if problem := impossible(whole | dict(fields)):
        raise LogvarError(problem)
    return dataclasses.replace(found, **fields)


def check_numbers(cells: pa.ChunkedArray, column: Column) -> None:
    """Check that all numbers of a column are multiples of its step and between its ends.

    Cells that are not would be rounded and moved to the ends without a word.

    Raises:
        LogvarError: some are not.
    """
    values = as_numbers(cells, column)
    with np.errstate(invalid="ignore"):  # NaN is a missing cell
        if column.step:
            apart = np.abs(values - rounded(values, column.step))
            off = apart > np.maximum(1e-6 * column.step, 1e-12 * np.abs(values))
            _refuse(values, off, f"between multiples of its step {column.step:g}", "step")
        if column.low is not None:
            _refuse(values, values < column.low, f"below its low end {column.low:g}", "low")
        if column.high is not None:
            _refuse(values, values > column.high, f"above its high end {column.high:g}", "high")


def _refuse(values: np.ndarray, bad: np.ndarray, what: str, field: str) -> None:
    if not bad.any():
        return
    row, many = int(np.argmax(bad)), int(bad.sum())
    also = " (0 for numbers of any decimals)" if field == "step" else ""
    raise LogvarError(
        f"has {many:,} cell{'s' * (many > 1)} {what}, the first {values[row]:g} at row {row}: "
        f"correct {field} in the schema{also}, or the cells"
    )


def as_written(given: tuple[Level, ...], occurring: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return given levels as the table writes them: with its blanks, and of its type."""
    own = {key_of(level): level for level in occurring}
    return tuple(own.get(key_of(level), level) for level in given)
