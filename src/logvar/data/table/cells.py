"""Columns → cells, one float64 array with NaN for missing cells; and back to columns."""

import datetime
from shlex import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from logvar.data.table.arrow import family, from_numbers, numbers, plain, symbol_of, type_of
from logvar.data.table.frame import Table
from logvar.data.table.levels import codes_of
from logvar.data.table.notation import number_of
from logvar.data.table.number import rounded
from logvar.data.table.schema import WITH_LEVELS, Column, Name, Schema
from logvar.data.table.texts import is_number, typed
from logvar.errors import LogvarError

Cells = Float[np.ndarray, "rows columns"]
_LAST_MINUTE = 253_402_300_740.0
"""Of the year 9999, in seconds."""


def cells_of(table: Table, schema: Schema, name: str = "X", unknown: str = "error") -> Cells:
    """Return the cells of the modelled columns as numbers, NaN where one is missing.

    A level is its index, a date counts from 1970-01-01 in its unit, and a constant column has 0
    for its value and 1 for anything else. Columns are matched by name, in any order.

    Args:
        table: the table.
        schema: the schema it is to follow.
        name: what the table is called in errors.
        unknown: what to do with a level that the schema does not have: an error, or a missing cell.

    Raises:
        LogvarError: columns are missing or unknown, or cells are not what their column is: all of
            them are named at once.
    """
    if unknown not in ("error", "level"):
        raise LogvarError(f"unknown is {unknown!r}: expected 'error' or 'level'")
    columns = _matched(table, schema, name)
    cells = np.empty((len(table), len(columns)), np.float64)
    problems = []
    for j, (column, schema_column) in enumerate(zip(columns, schema.modelled, strict=True)):
        try:
            cells[:, j] = _cells(column, schema_column, unknown)
        except LogvarError as error:
            problems.append(f"column {str(schema_column.name).strip()!r} {error}")
    if problems:
        more = f"; and {len(problems) - 10} more columns" if len(problems) > 10 else ""
        raise LogvarError(f"{name}: {'; '.join(problems[:10])}{more}")
    return cells


def table_of(
    cells: Cells, schema: Schema, container: str, carried: Table | None = None,
    kept: Bool[np.ndarray, "rows columns"] | None = None, first: int = 0,
) -> Table:  # fmt: skip
    """Return cells as a table with the schema's names, order and types.

    Numbers are rounded to their column's step and kept within its ends; NaN becomes null.

    Args:
        cells: (rows, modelled columns) float64.
        schema: what they mean.
        container: what `back` is to make of the table.
        carried: a table with the same rows, for the columns that are not modelled. Without it
            identifiers that are integers are counted, other such columns are empty, and ignored
            ones left out.
        kept: (rows, modelled columns) which cells to take from `carried` as they are.
        first: how many rows came before these, for identifiers that are counted.
    """
    modelled = {column.name: j for j, column in enumerate(schema.modelled)}
    names, columns, natives = [], [], []
    for column in schema.columns:
        j = modelled.get(column.name)
        own = _find(carried, column.name) if carried is not None else None
        if j is not None:
            made = _restored(cells[:, j], column)
            if kept is not None and own is not None:
                made = _merged(made, own, kept[:, j], column.notation)
        elif own is not None:
            made = own
        elif carried is not None or column.kind == "ignored":
            continue
        else:
            made = _without_values(column, len(cells), first)
        names.append(column.name)
        columns.append(pa.chunked_array([made]) if isinstance(made, pa.Array) else made)
        natives.append(column.native)
    index = carried.index if carried is not None else None
    return Table(tuple(names), tuple(columns), container, tuple(natives), index=index)


def as_numbers(column: pa.ChunkedArray, schema_column: Column) -> np.ndarray:
    """Return a column as float64, NaN where missing; texts are read as numbers or dates.

    Raises:
        LogvarError: a cell is no number, is infinite, or is not of the column's kind.
    """
    kind = schema_column.kind
    column = plain(column)
    if family(column.type) == "text":
        read = typed(column, like=schema_column.notation)
        if family(read.column.type) == "text":
            odd = read.problem or _first_text(column, "date" if schema_column.unit else "number")
            raise LogvarError(f"has kind {kind}, but holds {odd}")
        column = read.column
    dated = family(column.type) in ("date", "time", "duration")
    if family(column.type) == "other" or dated != bool(schema_column.unit):
        expected = "dates or times" if schema_column.unit else "numbers"
        raise LogvarError(f"has kind {kind}, but its type is {column.type}: expected {expected}")
    values = numbers(column, schema_column.unit)
    _check(values, schema_column)
    if pa.types.is_float32(column.type) and 0 < schema_column.step < 1:
        values = _on_the_grid(values, schema_column.step)
    return values


def remedy(name: Name, kind: str) -> str:
    """Say how to give a column another kind, in Python and on the command line."""
    options = {"ignored": "--drop", "identifier": "--id", "label": "--label"}
    text = str(name).strip()
    option = (
        f"{options[kind]} {quote(text)}" if kind in options else f"--kind {quote(f'{text}={kind}')}"
    )
    return f"schema={{{name!r}: {kind!r}}} ({option})"


def _first_text(column: pa.ChunkedArray, expected: str) -> str:
    """Name the first cell that is neither a number nor a date."""
    cells = column.to_pylist()
    odd = [row for row, cell in enumerate(cells) if cell is not None and not is_number(cell)]
    row = odd[0] if odd else column.is_valid().index(True).as_py()
    more = f" ({len(odd):,} such cells)" if len(odd) > 1 else ""
    wanted = f"expected a {expected}; correct it, or leave it empty"
    return f"{cells[row]!r} at row {row}{more}: {wanted}"


def _check(values: np.ndarray, column: Column) -> None:
    with np.errstate(invalid="ignore"):
        bad, expected = np.isinf(values), "a finite number"
        if not bad.any() and column.kind == "count":
            bad = (values < 0) | ((values != np.rint(values)) & ~np.isnan(values))
            expected = "a whole number of at least 0, for it is a count"
        elif not bad.any() and column.kind == "positive":
            bad, expected = values <= 0, "a number above 0, for it is positive"
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({bad.sum():,} such cells)" if bad.sum() > 1 else ""
        instead = "correct it, or leave it empty to be missing"
        if not np.isinf(values[row]):
            instead = (
                "correct it, leave it empty to be missing, or fit with "
                f"{remedy(column.name, 'real')}"
            )
        raise LogvarError(f"is {values[row]:g} at row {row}{more}: expected {expected}; {instead}")


def _on_the_grid(values: np.ndarray, step: float) -> np.ndarray:
    """Return float32's 0.27 as 0.27, where it is one."""
    near = rounded(values, step)
    return np.where(near.astype(np.float32) == values.astype(np.float32), near, values)


def _matched(table: Table, schema: Schema, name: str) -> list[pa.ChunkedArray]:
    """Return the modelled columns in the schema's order."""
    found = [(column.name, _find(table, column.name)) for column in schema.modelled]
    missing = [str(n).strip() for n, column in found if column is None]
    known = {str(n).strip() for n in schema.names} | {str(n).strip() for n in table.row_labels}
    extra = [str(n).strip() for n in table.names if str(n).strip() not in known]
    said = []
    if missing:
        said.append(f"lacks {_listed(missing)}")
    if extra:
        said.append(f"has {_listed(extra)}, which the model does not know")
    if said:
        raise LogvarError(
            f"{name} {' and '.join(said)}: expected the columns {_shown(schema)}; rename, add or "
            "remove columns, or fit a new model"
        )
    return [column for _, column in found if column is not None]


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    if len(names) == 1:
        return f"the column {shown}"
    return f"{len(names)} columns ({shown}{', …' if len(names) > 5 else ''})"


def _shown(schema: Schema) -> str:
    names = [str(column.name).strip() for column in schema.modelled]
    return ", ".join(names if len(names) <= 8 else [*names[:6], "…", names[-1]])


def _find(table: Table, name: Name) -> pa.ChunkedArray | None:
    """Return a column by its name, or by the same name as text, or None."""
    if name in table.names:
        return table[name]
    same = [n for n in table.names if str(n).strip() == str(name).strip()]
    return table[same[0]] if len(same) == 1 else None


def _cells(column: pa.ChunkedArray, schema_column: Column, unknown: str) -> np.ndarray:
    kind = schema_column.kind
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if kind == "constant":
        assert schema_column.value is not None
        codes = codes_of(column, (schema_column.value,))
        other = np.isnan(codes.values) & ~column.is_null().to_numpy()
        return np.where(other, 1.0, codes.values)
    if kind not in WITH_LEVELS:
        return as_numbers(column, schema_column)
    codes = codes_of(column, schema_column.levels)
    if codes.unknown and unknown == schema_column.unknown == "error":
        level, (row, _) = min(codes.unknown.items(), key=lambda item: item[1])
        total = sum(count for _, count in codes.unknown.values())
        others = f", {len(codes.unknown):,} such levels" if len(codes.unknown) > 1 else ""
        more = f" ({total:,} such cells{others})" if total > 1 else ""
        levels = [str(one).strip() for one in schema_column.levels]
        shown = ", ".join(levels if len(levels) <= 6 else [*levels[:5], "…"])
        raise LogvarError(
            f"has the level {str(level).strip()!r} at row {row}{more}, which the model never saw: "
            f"expected one of {len(levels)} ({shown}); correct it, or fit with unknown = "
            "'level' for that column in the schema, which treats such cells as missing"
        )
    return codes.values


def _restored(values: np.ndarray, column: Column) -> pa.Array:
    kind = type_of(column.dtype) if column.dtype else None
    if column.kind in WITH_LEVELS or column.kind == "constant":
        levels = column.levels if column.kind in WITH_LEVELS else (column.value,)
        last = len(levels) - 1 if column.kind in WITH_LEVELS else 0
        missing = np.isnan(values)
        codes = np.clip(np.rint(np.where(missing, 0, values)), 0, last).astype(np.int32)
        return _of_levels(codes, missing, levels, column, kind)
    if column.step:
        values = rounded(values, column.step)
        if column.unit == "seconds" and column.step > 1:
            values = np.minimum(values, _LAST_MINUTE)
    elif column.notation and not column.unit:
        decimals = number_of(column.notation).decimals
        values = values if decimals is None else np.round(values, decimals)
    if column.low is not None or column.high is not None:
        values = np.clip(values, column.low, column.high)
        if column.kind == "positive":
            values = np.where(values <= 0, column.step or np.finfo(np.float32).tiny, values)
    if kind is None:
        kind = pa.timestamp("us") if column.unit else pa.float64()
    if family(kind) == "text":
        unit = column.unit or "days"
        inner = pa.date32() if unit == "days" else pa.timestamp(symbol_of(unit))
        whole = pa.int64() if column.step == 1 else pa.float64()
        made = from_numbers(values, inner if column.unit else whole, column.unit)
        return made.cast(kind)
    if family(kind) == "category":
        kind = kind.value_type
    return from_numbers(values, kind, column.unit)


def _of_levels(
    codes: np.ndarray, missing: np.ndarray, levels: tuple, column: Column, kind: pa.DataType | None
) -> pa.Array:
    index = pa.array(codes, mask=missing)
    if kind is None:
        return pa.array(levels).take(index)
    if family(kind) != "category":
        return _typed_levels(levels, kind).take(index)
    declared = column.declared or levels
    place = np.array([declared.index(level) for level in levels], np.int32)[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(place, mask=missing),
        pa.array(declared).cast(kind.value_type, safe=False),
        ordered=kind.ordered,
    ).cast(pa.dictionary(pa.int32(), kind.value_type, kind.ordered))


def _typed_levels(levels: tuple, kind: pa.DataType) -> pa.Array:
    """Return levels in the type of their column; Arrow reads no times and durations from texts."""
    if family(kind) == "time":
        levels = tuple(datetime.time.fromisoformat(str(level)) for level in levels)
    elif family(kind) == "duration":
        seconds = (float(str(level).removesuffix(" s")) for level in levels)
        levels = tuple(datetime.timedelta(seconds=each) for each in seconds)
    return pa.array(levels).cast(kind, safe=False)


def _merged(made: pa.Array, own: pa.ChunkedArray, kept: np.ndarray, notation: str = "") -> pa.Array:
    """Return the kept cells of one and the others of the other."""
    if family(made.type) == "category":
        own = plain(own).cast(made.type.value_type)
        whole = pc.if_else(pa.array(kept), own.combine_chunks(), made.dictionary_decode())
        index = pc.index_in(whole, made.dictionary)
        return pa.DictionaryArray.from_arrays(index, made.dictionary, ordered=made.type.ordered)
    own = plain(own)
    if family(own.type) == "text" != family(made.type):
        own = typed(own, like=notation).column  # numbers or dates that came as texts
        if family(own.type) == "text":
            return made  # levels, which are the same there
    own = own.cast(made.type, safe=False)
    return pc.if_else(pa.array(kept), own.combine_chunks(), made)


def _without_values(column: Column, rows: int, first: int) -> pa.Array:
    kind = type_of(column.dtype) if column.dtype else pa.null()
    if column.kind == "identifier" and family(kind) == "integer":
        return pa.array(np.arange(first + 1, first + rows + 1)).cast(kind, safe=False)
    return pa.nulls(rows, kind)
