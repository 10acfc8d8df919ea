"""Arrow's types as a table's columns need them: which family, which numbers, which texts."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from logvar.errors import LogvarError

FAMILIES = (
    "integer", "float", "decimal", "boolean", "text", "category", "date", "time", "duration",
    "empty", "other",
)  # fmt: skip
PER_DAY = {"days": 1, "seconds": 86_400, "milliseconds": 86_400_000, "microseconds": 86_400_000_000}
"""Units of dates, times and durations; microseconds since 1970 are exact in float64 until 2255."""
_SYMBOL = {"days": "s", "seconds": "s", "milliseconds": "ms", "microseconds": "us"}
_YEARS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""From year 1 to 9999, in microseconds since 1970."""
EXACT = 2**53
"""Integers up to this one are exact in float64."""


def family(kind: pa.DataType) -> str:
    """Return which of FAMILIES a type belongs to."""
    if kinds.is_dictionary(kind):
        return "category" if family(kind.value_type) != "other" else "other"
    tests = {
        "boolean": kinds.is_boolean, "integer": kinds.is_integer, "float": kinds.is_floating,
        "decimal": kinds.is_decimal, "text": is_text, "time": kinds.is_time,
        "date": lambda t: kinds.is_date(t) or kinds.is_timestamp(t),
        "duration": kinds.is_duration, "empty": kinds.is_null,
    }  # fmt: skip
    return next((name for name, test in tests.items() if test(kind)), "other")


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's three kinds of text."""
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def type_of(text: str) -> pa.DataType:
    """Return the type that Arrow writes as this text.

    Example:
        >>> str(type_of("timestamp[us, tz=Europe/Berlin]"))
        'timestamp[us, tz=Europe/Berlin]'
        >>> type_of("dictionary<values=string, indices=int32, ordered=1>").ordered
        True
    """
    if found := re.fullmatch(r"dictionary<values=(.*), indices=(\w+), ordered=([01])>", text):
        return pa.dictionary(type_of(found[2]), type_of(found[1]), found[3] == "1")
    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)", text):
        return getattr(pa, f"decimal{found[1]}")(int(found[2]), int(found[3]))
    return pa.type_for_alias(text)


def in_known_types(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts in views, which few functions of Arrow know, as texts."""
    views = is_text(column.type) and not (
        kinds.is_string(column.type) or kinds.is_large_string(column.type)
    )
    return column.cast(pa.string()) if views else column


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of categories as its values, in the types that all functions know."""
    kind = column.type
    if kinds.is_dictionary(kind):
        column = pa.chunked_array(
            [chunk.dictionary_decode() for chunk in column.chunks], kind.value_type
        )
    if kinds.is_float16(column.type):  # few functions of Arrow know it
        column = column.cast(pa.float32())
    if is_text(column.type) and not kinds.is_string(column.type):
        column = column.cast(pa.string())
    return column


def numbers(column: pa.ChunkedArray, unit: str = "") -> np.ndarray:
    """Return a column as float64, NaN where a cell is missing.

    Dates, times and durations are counted in `unit`, dates from 1970-01-01 on (UTC).
    """
    column = plain(column)
    kind = column.type
    name = family(kind)
    if name in ("date", "time", "duration"):
        return _counted(column, unit or unit_of(column))
    if name == "decimal":
        column = column.cast(pa.float64())
    if name == "boolean":
        column = column.cast(pa.int8())
    missing = column.is_null().to_numpy() if column.null_count else None
    if missing is not None and name != "float":
        column = pc.fill_null(column, 0)
    values = column.to_numpy().astype(np.float64)  # a copy, so that it may be written to
    if missing is not None:
        values[missing] = np.nan
    return values


def unit_of(column: pa.ChunkedArray) -> str:
    """Return the coarsest unit that loses nothing: days, seconds, milliseconds or microseconds.

    Nanoseconds are cut to microseconds, which float64 can still count.
    """
    column = plain(column)
    if column.type == pa.date32():
        return "days"
    ticks = _ticks(column)
    return next(unit for unit in PER_DAY if not (ticks % _microseconds(unit)).any())


def symbol_of(unit: str) -> str:
    """Return Arrow's and NumPy's symbol of the unit that timestamps are kept in."""
    return _SYMBOL[unit]


def _counted(column: pa.ChunkedArray, unit: str) -> np.ndarray:
    values = _ticks(column) / _microseconds(unit)
    if column.null_count:
        values[column.is_null().to_numpy()] = np.nan
    return values


def _ticks(column: pa.ChunkedArray) -> np.ndarray:
    """Return microseconds as integers, 0 where a cell is missing.

    Raises:
        LogvarError: a date is beyond the years 1 to 9999, or a duration as far.
    """
    kind = column.type
    if kinds.is_date(kind):
        column = column.cast(pa.timestamp("s" if kind == pa.date32() else "ms"))
    elif kind == pa.time32("s") or kind == pa.time32("ms"):
        column = column.cast(pa.time64("us"))
    per_tick = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}
    unit = getattr(column.type, "unit", "us")
    column = pc.fill_null(column.cast(pa.int64()), 0)
    ticks = column.to_numpy()
    if unit == "ns":
        return ticks // 1000
    low, high = (end // per_tick[unit] for end in _YEARS)
    far = (ticks < low) | (ticks > high)
    if far.any():
        raise LogvarError(
            f"has {far.sum():,} dates or durations beyond the years 1 to 9999, the first at row "
            f"{int(far.argmax())}: correct them, or leave them empty to be missing"
        )
    return ticks * per_tick[unit]


def _microseconds(unit: str) -> int:
    return PER_DAY["microseconds"] // PER_DAY[unit]


def from_numbers(values: np.ndarray, kind: pa.DataType, unit: str = "") -> pa.Array:
    """Return float64 numbers as an Arrow array of a type; NaN become nulls.

    Integers are rounded and kept within the range of their type, and so are dates.
    """
    missing = np.isnan(values)
    values = np.where(missing, 0.0, values)
    name = family(kind)
    if name in ("date", "time", "duration"):
        return _from_counted(values, missing, kind, unit or "days")
    if name == "integer":
        limits = np.iinfo(kind.to_pandas_dtype())
        whole = np.clip(np.rint(values), limits.min, limits.max)
        # The float64 nearest to 2⁶³ − 1 is 2⁶³, which int64 does not have.
        whole = np.where(whole >= 2.0**63, np.nextafter(2.0**63, 0), whole)
        return pa.array(whole.astype(np.int64), mask=missing).cast(kind)
    if name == "decimal":
        ten = 10.0 ** (kind.precision - kind.scale)
        most = min(ten - 10.0**-kind.scale, np.nextafter(ten, 0))
        whole = np.clip(values, -most, most)
        return pa.array(whole, mask=missing).cast(kind, safe=False)
    if name == "boolean":
        return pa.array(values > 0.5, mask=missing)
    largest = float(np.finfo(kind.to_pandas_dtype()).max)
    return pa.array(np.clip(values, -largest, largest), mask=missing).cast(kind, safe=False)


def _from_counted(
    values: np.ndarray, missing: np.ndarray, kind: pa.DataType, unit: str
) -> pa.Array:
    name = family(kind)
    if name == "time":
        low, high = 0, PER_DAY["microseconds"] - 1
    elif getattr(kind, "unit", "us") == "ns":
        low, high = -9_199_958_400_000_000, 9_199_958_400_000_000  # whole days, 1678 to 2261
    else:
        low, high = _YEARS
    ticks = np.clip(np.rint(values * _microseconds(unit)), low, high).astype(np.int64)
    whole = pa.array(np.minimum(ticks, high), mask=missing)
    if name == "duration":
        return whole.cast(pa.duration("us")).cast(kind, safe=False)
    if name == "time":
        return whole.cast(pa.time64("us")).cast(kind, safe=False)
    zone = getattr(kind, "tz", None)
    return whole.cast(pa.timestamp("us", zone)).cast(kind, safe=False)


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """Return the cells as Python's own values, None where missing."""
    return plain(column).to_pylist()
