"""One column of any container → Arrow, or what is wrong with it."""

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from logvar.data.table.arrow import in_known_types
from logvar.errors import LogvarTypeError


def column_of(given: Any) -> pa.ChunkedArray:
    """Return a column in Arrow's memory.

    Raises:
        LogvarTypeError: it is no column, or its cells are not of one type; the message is to be put
            after the column's name.

    Example:
        >>> column_of([1, None, 2.5]).to_pylist()
        [1.0, None, 2.5]
    """
    if isinstance(given, pa.ChunkedArray):
        return in_known_types(given)
    if isinstance(given, pa.Array):
        return in_known_types(pa.chunked_array([given]))
    if isinstance(given, Mapping):
        raise LogvarTypeError(
            "is a dict: expected a list or array with one cell a row; a frame of pandas gives them "
            "by to_dict('list')"
        )
    if isinstance(given, str | bytes | set | frozenset) or not hasattr(given, "__len__"):
        raise LogvarTypeError(f"is {given!r:.60}: expected a list or array with one cell a row")
    if isinstance(given, np.ndarray) and given.ndim != 1:
        raise LogvarTypeError(f"has shape {given.shape}: expected one cell a row")
    if isinstance(given, np.ndarray) and given.dtype.kind == "c":
        raise LogvarTypeError("holds complex numbers: expected real ones; split them")
    try:
        column = _in_arrow(given)
    except (ValueError, TypeError, NotImplementedError, OverflowError) as error:
        raise LogvarTypeError(_what_is_wrong(given, error)) from error  # Arrow's errors among them
    if pa.types.is_decimal(column.type):  # as Arrow infers it, 9.99 would be the largest number
        column = column.cast(pa.decimal128(38, column.type.scale))
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def of_narwhals(series: Any, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column of a frame that narwhals knows.

    Raises:
        LogvarTypeError: Arrow has no such type.
    """
    try:
        return series.to_arrow()
    except (ValueError, TypeError, NotImplementedError) as error:  # Arrow's errors among them
        raise LogvarTypeError(
            f"{name}: column {series.name!r} is {series.dtype}, which Arrow cannot hold: cast it, "
            "for instance to Int64 or String, or drop it"
        ) from error


def with_plain_levels(column: Any) -> Any:
    """Return a column of categories that are intervals or periods, as pd.cut gives, as texts."""
    levels = getattr(column.dtype, "categories", None)
    if levels is None or not str(levels.dtype).startswith(("interval", "period")):
        return column
    return column.cat.rename_categories([str(level) for level in levels])


def _in_arrow(given: Any) -> pa.Array | pa.ChunkedArray:
    """Return cells as Arrow reads them, null where masked or missing."""
    mask = None
    if isinstance(given, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(given)
        given = given.data
    if isinstance(given, np.ndarray):
        kind = given.dtype.kind
        if kind == "V" or given.dtype.name.startswith(("bfloat16", "float8")):
            given = given.astype(np.float32)  # ml_dtypes' types, which Arrow does not know
        elif kind == "f" and given.dtype.itemsize > 8:
            given = given.astype(np.float64)
        elif kind in "UST":
            given = given.astype(object) if kind != "S" else np.char.decode(given)
        elif kind in "mM" and np.datetime_data(given.dtype)[0] in "YMWhm":
            day = kind == "M" and np.datetime_data(given.dtype)[0] in "YMW"
            given = given.astype(f"{kind}8[{'D' if day else 's'}]")
        elif not given.dtype.isnative:
            given = given.astype(given.dtype.newbyteorder("="))
    objects = str(getattr(given, "dtype", "object")) == "object"
    try:
        column = pa.array(given, from_pandas=True, mask=mask)
    except (ValueError, TypeError, NotImplementedError):
        if not objects or (moments := _moments(given)) is None:
            raise
        return pa.array(moments, from_pandas=True, mask=mask)
    if objects and (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        # Arrow takes the type of the first cell: of days, which cuts the hours of the others.
        moments = _moments(given)
        return column if moments is None else pa.array(moments, from_pandas=True, mask=mask)
    return column


def _moments(cells: Any) -> list[Any] | None:
    """Return dates among moments as moments at midnight; None if no moment is among the cells.

    Raises:
        ValueError: some have a time zone and others none.
    """
    moments = [cell for cell in cells if isinstance(cell, datetime.datetime) and cell == cell]
    zones = {moment.tzinfo is None: moment.tzinfo for moment in moments}
    if len(zones) > 1:
        raise ValueError("moments with and without a time zone")
    if not moments:
        return None
    zone, midnight = moments[0].tzinfo, datetime.time()
    return [
        datetime.datetime.combine(cell, midnight, zone) if type(cell) is datetime.date else cell
        for cell in cells
    ]


def _what_is_wrong(given: Any, error: Exception) -> str:
    """Name the types that do not go together, with the first row of each."""
    first: dict[str, str] = {}
    for row, cell in enumerate(given):
        name = type(cell).__name__
        missing = cell is None or name == "NAType" or (isinstance(cell, float) and cell != cell)
        if not missing:
            first.setdefault(name, f"{name} (row {row}: {cell!r:.40})")
    if len(first) > 1:
        mixed = " ".join(f"mixes {' and '.join(first.values())}".split())
        return f"{mixed}: expected one type; convert it, as in X[column].astype(str), or drop it"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be read ({reason:.200}): expected numbers, texts or dates"
