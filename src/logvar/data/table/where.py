"""`where`: cells that rows of a table are to have, as the model reads them."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from logvar.data.table.frame import Table, as_table
from logvar.data.table.schema import WITH_LEVELS, Column, Level, Name, Schema
from logvar.errors import LogvarError, unknown_name

_RANGE = re.compile(r"[<>≤≥].*|.*\S\s*(\.\.|…|\bto\b)\s*\S.*")


def cells_where(where: Mapping[Any, Any], schema: Schema) -> Float[np.ndarray, "1 columns"]:
    """Return one row of cells that has the given ones, and NaN elsewhere.

    Args:
        where: values by the names of columns: a level, a number, or a date.
        schema: that of the training rows.

    Raises:
        LogvarError: a column is not there or not modelled, a level was never seen, or a value is
            not of its column's kind.
    """
    cells = np.full((1, len(schema.modelled)), np.nan)
    for asked, value in where.items():
        column = _column(asked, schema)
        cells[0, schema.modelled.index(column)] = cell_of(value, column, "where")
    return cells


def cell_of(value: Any, column: Column, what: str) -> float:
    """Return one value as a cell of its column.

    Args:
        value: a level, a number, a date, or a text of one of them.
        column: the column.
        what: what messages call the values.

    Raises:
        LogvarError: it is missing, a level that was never seen, or not of the column's kind.
    """
    from logvar.data.table.cells import as_numbers
    from logvar.data.table.levels import codes_of

    name = str(column.name).strip()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, list | tuple | set | dict | slice | range | np.ndarray):
        raise LogvarError(
            f"{what}: {name!r} is given as {value!r}: expected one value; for several or a range, "
            "ask once for each value and join the rows"
        )
    read = _one(value, name, what)
    if read.columns[0].null_count:
        raise LogvarError(
            f"{what}: {name!r} is given as a missing cell ({value!r}): give a value, or omit it"
        )
    if column.kind in WITH_LEVELS or column.kind == "constant":
        assert column.kind in WITH_LEVELS or column.value is not None
        levels: tuple[Level, ...] = column.levels or (column.value,)  # type: ignore[assignment]
        code = codes_of(read.columns[0], levels).values[0]
        if np.isnan(code):
            shown = [str(level).strip() for level in levels]
            asked = str(value).strip()
            near = difflib.get_close_matches(asked, shown, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise LogvarError(
                f"{what}: column {name!r} has no level {asked!r}: {hint}Known: "
                f"{', '.join(_some(shown, value))}; the model never saw others"
            )
        return float(code)
    if isinstance(value, str) and _RANGE.fullmatch(value.strip()):
        raise LogvarError(
            f"{what}: {name!r} is given as {value!r}, and ranges are not supported: give one "
            "value, or sample and keep the rows in the range"
        )
    try:
        return float(as_numbers(read.columns[0], column)[0])
    except LogvarError as error:
        text = str(error).replace(" at row 0", "").split("; correct it")[0]
        raise LogvarError(f"{what}: column {name!r} {text}") from error


def _column(asked: Any, schema: Schema) -> Column:
    by_text = {str(column.name).strip(): column for column in schema}
    column = by_text.get(str(asked).strip())
    if column is None:
        error = unknown_name("column", asked, _some(list(by_text), asked))
        raise LogvarError(f"where: {error}")
    if not column.is_modelled:
        other = "; give it as condition" if column.kind == "condition" else ""
        raise LogvarError(
            f"where: column {asked!r} is not modelled ({column.kind}), so no rows can be drawn "
            f"given it{other or ': leave it out'}"
        )
    return column


def _some(known: list[str], asked: Any) -> list[str]:
    """Return at most thirty names, with the nearest among them."""

    near = difflib.get_close_matches(str(asked), known, n=1, cutoff=0.5)
    return list(dict.fromkeys([*near, *known[:30]])) if len(known) > 30 else known


def _one(value: Any, name: Name, what: str) -> Table:
    try:
        return as_table({name: [value]}, what)
    except LogvarError as error:
        raise LogvarError(f"{what}: {name!r} is given as {value!r}: {error}") from error
