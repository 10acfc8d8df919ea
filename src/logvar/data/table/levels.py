"""Levels of a column: which there are, in which order, and which cell has which."""

import datetime
import decimal
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import plain
from logvar.data.table.schema import Level
from logvar.data.table.texts import MARKS

_MIDNIGHT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]00:00:00")


class Codes(NamedTuple):
    """Each cell's level."""

    values: np.ndarray
    """(rows,) float64: the index of the level, NaN where missing or not among the levels."""
    unknown: dict[Level, tuple[int, int]]
    """Levels that are not among those given: the first row, and how many cells."""


def levels_of(column: pa.ChunkedArray) -> tuple[Level, ...]:
    """Return the levels that occur: as their type orders them if it does, else sorted.

    Texts that differ in surrounding blanks only are one level, written as it is most often.
    """
    values, counts = _counted(column)
    commonest: dict[str, tuple[int, Level]] = {}
    for value, count in sorted(zip(values, counts, strict=True), key=lambda pair: str(pair[0])):
        key = key_of(value)
        if key not in commonest or count > commonest[key][0]:
            commonest[key] = (count, value)
    occurring = [value for _, value in commonest.values()]
    declared = declared_levels(column)
    if declared and column.type.ordered:
        keys = {key_of(value) for value in occurring}
        return tuple(value for value in declared if key_of(value) in keys)
    return tuple(sorted(occurring, key=_rank))


def declared_levels(column: pa.ChunkedArray) -> tuple[Level, ...]:
    """Return all levels of a column of categories, in their order; others declare none."""
    if not pa.types.is_dictionary(column.type):
        return ()
    dictionary = column.unify_dictionaries().chunk(0).dictionary
    texts = [_level(value) for value in dictionary.to_pylist() if value is not None]
    return tuple(
        level for level in texts if not (isinstance(level, str) and level.strip() in MARKS)
    )


def codes_of(column: pa.ChunkedArray, levels: tuple[Level, ...]) -> Codes:
    """Return each cell's index among the levels; 1, 1.0 and "1" are the same level."""
    known = {key_of(level): i for i, level in enumerate(levels)}
    encoded = pc.dictionary_encode(plain(column))
    whole = pa.concat_arrays(encoded.unify_dictionaries().chunks)
    keys = _levels_in(whole.dictionary)
    code_of = np.array([*(known.get(key_of(key), np.nan) for key in keys), np.nan], np.float64)
    index = pc.fill_null(whole.indices, len(keys)).to_numpy(zero_copy_only=False)
    unknown = {}
    for i, key in enumerate(keys):
        if key_of(key) not in known and (index == i).any():
            unknown[key] = (int(np.argmax(index == i)), int((index == i).sum()))
    return Codes(code_of[index], unknown)


def key_of(value: Level) -> str:
    """Return the text by which levels are told apart, in any type that they may come in."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if _MIDNIGHT.fullmatch(text):  # a day, as files without times have it
        return text[:10]
    return text.lower() if text in ("True", "False", "TRUE", "FALSE") else text


def _counted(column: pa.ChunkedArray) -> tuple[list[Level], list[int]]:
    counts = pc.value_counts(plain(column).drop_null())
    return _levels_in(counts.field(0)), counts.field(1).to_pylist()


def _levels_in(values: pa.Array) -> list[Level]:
    """Return values as levels; float32's 0.1 is 0.1, as in any other type."""
    if pa.types.is_float32(values.type):
        return [float(str(value)) for value in values.to_numpy(zero_copy_only=False)]
    return [_level(value) for value in values.to_pylist()]


def _level(value: Any) -> Level:
    if isinstance(value, float):
        return value + 0.0  # 0 has no sign
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds():.15g} s"
    return str(value)


def _rank(level: Level) -> tuple[Any, ...]:
    if isinstance(level, str):
        return (1, level.strip(), level)
    return (0, level)
