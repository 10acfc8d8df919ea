"""Find the kind of every column of a table, with the reason in words."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import EXACT, family, numbers, plain, unit_of
from logvar.data.table.cells import as_numbers
from logvar.data.table.frame import Table
from logvar.data.table.levels import declared_levels, levels_of
from logvar.data.table.schema import (
    KINDS,
    NUMBERS,
    WITH_LEVELS,
    Column,
    Level,
    Name,
    Schema,
    check_fields,
)
from logvar.data.table.texts import typed
from logvar.errors import LogvarError, unknown_name

FEW = 20
"""Up to this number of distinct texts are categories, unless no two rows share one."""
ROWS_PER_LEVEL = 5
"""More texts are categories if each has this number of rows on average."""
MOST_LEVELS = 1000
DECIMALS = 6
"""Numbers with at most this many decimals have a step; others are continuous."""

_ID = re.compile(
    r"(?i)(row|record|.*[\W_])?(ids?|uuid|guid|index|idx|key|no|nr|number)|.*[a-z]I[Dd]"
)


def found(table: Table, overrides: Mapping[Name, Any] = {}) -> Schema:
    """Return the schema of a table; what is wrong with any column is reported at once.

    Args:
        table: the table.
        overrides: for some columns their kind, a dict of a column's fields, or a whole `Column`,
            whose levels, unit, value and types are found where it has none.

    Raises:
        LogvarError: an override names a column that is not there or does not fit the cells; a
            column has only missing cells, infinite values, mixed dates, or numbers and texts.

    Example:
        >>> from logvar.data.table.frame import as_table
        >>> print(found(as_table({"age": [39, 50, 38], "sex": ["F", "M", None]}), {"age": "real"}))
        2 columns, 2 of them modelled
        age  real    as given; integers from 38 to 50
        sex  binary  F and M; 1 of 3 cells missing
    """
    given = _given(table, overrides)
    columns, problems = [], []
    for i, name in enumerate(table.names):
        try:
            columns.append(_column(table, i, given.get(name)))
        except LogvarError as error:
            problems.append(f"column {str(name).strip()!r} {error}")
    if problems:
        raise LogvarError(f"{'; '.join(problems[:20])}{_more(len(problems) - 20)}")
    if not any(column.is_modelled for column in columns):
        raise LogvarError(
            f"none of the {len(columns)} columns is to be modelled "
            f"({', '.join(f'{c.name}: {c.kind}' for c in columns[:5])}): give one of them another "
            "kind, as in --kind NAME=categorical"
        )
    return Schema(tuple(columns))


def _more(count: int) -> str:
    return f"; and {count} more columns" if count > 0 else ""


def _given(table: Table, overrides: Mapping[Name, Any]) -> dict[Name, dict[str, Any]]:
    """Return the fields given for each column, by the table's own names."""
    by_text = {str(name).strip(): name for name in table.names}
    given: dict[Name, dict[str, Any]] = {}
    for asked, what in overrides.items():
        name = asked if asked in table.names else by_text.get(str(asked).strip())
        if name is None:
            error = unknown_name("column", asked, [str(n) for n in table.names[:50]])
            raise LogvarError(f"the schema names a column that is not in the table: {error}")
        if isinstance(what, Column):
            fields = {f.name: getattr(what, f.name) for f in dataclasses.fields(Column)}
            fields["whole"] = True
        elif isinstance(what, str):
            if what not in KINDS:
                raise LogvarError(
                    f"column {asked!r}: {unknown_name('kind of column', what, KINDS)}"
                )
            fields = {"kind": what}
        elif isinstance(what, Mapping):
            check_fields(what, f"column {asked!r}")
            fields = dict(what)
        else:
            raise LogvarError(f"column {asked!r} is given as {what!r}: expected a kind, as text")
        fields["name"] = name
        given[name] = fields
    return given


def _column(table: Table, i: int, given: dict[str, Any] | None) -> Column:
    name, column = table.names[i], table.columns[i]
    fields = dict(given or {})
    whole = fields.pop("whole", False)
    kind = fields.get("kind")
    base = Column(name, kind or "ignored", dtype=str(column.type), native=table.natives[i])
    if kind is None:
        kind_found = _found(table, base, column)
    elif kind not in NUMBERS + WITH_LEVELS + ("constant",):
        kind_found = dataclasses.replace(base, reason="as given")
    else:
        kind_found = _forced(base, column, kind)
        kind_found = dataclasses.replace(kind_found, reason=f"as given; {kind_found.reason}")
    notes = [table.notes[name]] if name in table.notes else []
    if column.null_count:
        notes.append(f"{column.null_count:,} of {len(column):,} cells missing")
    result = dataclasses.replace(
        kind_found, reason="; ".join([kind_found.reason, *notes]),
        declared=_declared(column, kind_found),
    )  # fmt: skip
    if whole:  # what was given holds, and what it lacks is found
        empty = {key for key in ("levels", "declared", "unit", "value", "dtype", "native", "reason")
                 if not fields[key] and fields[key] is not False and fields[key] != 0}  # fmt: skip
        fields = {key: value for key, value in fields.items() if key not in empty}
    return dataclasses.replace(result, **fields)


def _declared(column: pa.ChunkedArray, found: Column) -> tuple[Level, ...]:
    declared = declared_levels(column)
    return declared if found.levels and set(declared) - set(found.levels) else ()


def _found(table: Table, base: Column, column: pa.ChunkedArray) -> Column:
    name, kind = base.name, family(column.type)
    if name in table.row_labels:
        return dataclasses.replace(base, kind="identifier", reason="labels of the file's rows")
    _check(base, column)
    if kind in ("text", "category"):
        return _of_texts(base, column)
    levels = (
        levels_of(column) if kind == "boolean" or pc.count_distinct(column).as_py() == 1 else ()
    )
    if len(levels) == 1:
        return _constant(base, levels)
    if kind == "boolean":
        return _with_levels(base, "binary", levels)
    if kind == "date":
        return _date(base, column)
    if kind in ("time", "duration"):
        return _span(base, column)
    return _of_numbers(base, column)


def _check(base: Column, column: pa.ChunkedArray) -> None:
    kind = family(column.type)
    remedy = f"leave it out with --drop {base.name} (in Python schema={{{base.name!r}: 'ignored'}})"
    if kind == "other":
        raise LogvarError(f"holds {column.type}: expected numbers, texts or dates; {remedy}")
    if column.null_count == len(column):
        raise LogvarError(f"has only missing cells: expected some that are not; {remedy}")
    if kind == "float":
        values = numbers(column)
        bad = np.isinf(values)
        if bad.any():
            raise LogvarError(
                f"has {bad.sum():,} infinite cells (the first at row {np.argmax(bad)}): expected "
                "finite numbers; leave them empty to be missing, or correct them"
            )


def _of_texts(base: Column, column: pa.ChunkedArray) -> Column:
    """Categories, an identifier, a constant, or dates."""
    kind = family(column.type)
    hint = ""
    if kind == "text":
        read = typed(column)
        if read.problem and "told apart" not in read.problem:
            raise LogvarError(
                f"holds {read.problem}; correct those cells, leave them empty to be missing, or say "
                f"--kind {base.name}=categorical"
            )
        hint = read.problem and f"; {read.problem}, so write them as 2020-01-31"
        if family(read.column.type) == "date" and pc.count_distinct(read.column).as_py() > 1:
            return _date(base, read.column)
        if family(read.column.type) in ("integer", "float"):
            hint = f"; all are numbers: --kind {base.name}=real models them as such"
    levels = levels_of(column)
    rows = len(column) - column.null_count
    if len(levels) == 1:
        return _constant(base, levels)
    ordered = kind == "category" and column.type.ordered and base.native != "Enum"
    if ordered:
        return _with_levels(base, "ordinal", declared_levels(column))
    number = len(levels)
    few = number <= FEW and (number < rows or number <= FEW // 2)
    if few or (number * ROWS_PER_LEVEL <= rows and number <= MOST_LEVELS):
        column_found = _with_levels(base, "binary" if number == 2 else "categorical", levels)
        return dataclasses.replace(column_found, reason=column_found.reason + hint)
    what = f"{number:,} distinct texts in {rows:,} rows"
    return dataclasses.replace(base, kind="identifier", reason=f"{what}, not modelled{hint}")


def _of_numbers(base: Column, column: pa.ChunkedArray) -> Column:
    values = numbers(column)
    values = values[~np.isnan(values)]
    several = np.unique(values)
    if several.tolist() == [0, 1]:
        return _with_levels(base, "binary", (0, 1))
    whole = bool((several == np.rint(several)).all())
    if whole and _looks_like_identifier(base, column, values, several):
        what = f"{len(several):,} distinct integers in {len(values):,} rows"
        return dataclasses.replace(base, kind="identifier", reason=f"{what}, named like one")
    if whole and np.abs(several).max() > EXACT and family(column.type) != "float":
        raise LogvarError(
            f"holds integers up to {several[np.abs(several).argmax()]:.6g}, beyond the "
            f"{EXACT:,} that float64 counts exactly: say --id {base.name} if it is an identifier, or "
            f"--kind {base.name}=categorical"
        )
    if whole and several[0] >= 0 and several[-1] <= EXACT:
        reason = _range("integers", several)
        zeros = (values == 0).mean()
        if zeros > 0.5:
            reason += f", {zeros:.0%} of them 0"
        if len(several) == len(values) > FEW and (np.diff(values) == 1).all():
            reason += f"; each one more than the last: a row number? --id {base.name} leaves it out"
        return dataclasses.replace(base, kind="count", reason=reason, step=1.0, low=0.0)
    kind = "positive" if several[0] > 0 and _has_a_long_tail(values) else "real"
    return _number(base, kind, values, column.type)


def _number(base: Column, kind: str, values: np.ndarray, dtype: pa.DataType) -> Column:
    several = np.unique(values)
    step = 1.0 if kind == "count" else _step(several, dtype)
    low = 0.0 if kind in ("count", "positive") or (kind == "real" and several[0] == 0) else None
    reason = _range("integers" if step == 1 else "numbers", several)
    if 0 < step < 1:
        reason += f" in steps of {step:g}"
    if kind == "positive":
        reason += ", all above 0"
    elif low == 0:
        reason += ", none below 0"
    return dataclasses.replace(base, kind=kind, reason=reason, step=step, low=low)


def _step(several: np.ndarray, dtype: pa.DataType) -> float:
    """Return 1, 0.1, 0.01 … if all numbers are written with so many decimals, else 0."""
    if np.abs(several).max() > 1e12:
        return 0.0
    narrow = pa.types.is_float32(dtype)
    for decimals in range(DECIMALS + 1):
        rounded = np.round(several, decimals)
        if narrow:
            rounded, same = rounded.astype(np.float32), several.astype(np.float32)
        else:
            same = several
        if (rounded == same).all():
            return float(10.0**-decimals) if decimals < 1 else float(f"1e-{decimals}")
    return 0.0


def _has_a_long_tail(values: np.ndarray) -> bool:
    """Whether the numbers are skewed to the right, and their logarithms less so."""
    return _skewness(values) > 0.5 and abs(_skewness(np.log(values))) < _skewness(values)


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    spread = centred.std()
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0


def _looks_like_identifier(
    base: Column, column: pa.ChunkedArray, values: np.ndarray, several: np.ndarray
) -> bool:
    named = str(base.name).strip() == "" or _ID.fullmatch(str(base.name).strip()) is not None
    return named and family(column.type) == "integer" and len(several) > max(2, 0.5 * len(values))


def _date(base: Column, column: pa.ChunkedArray) -> Column:
    unit = unit_of(column)
    ends = pc.min_max(plain(column)).as_py()
    first, last = (str(ends[end])[: 10 if unit == "days" else 19] for end in ("min", "max"))
    return dataclasses.replace(
        base, kind="date", reason=f"{unit} from {first} to {last}", step=1.0, unit=unit
    )


def _span(base: Column, column: pa.ChunkedArray) -> Column:
    unit = unit_of(column)
    several = np.unique(numbers(column, unit)[~column.is_null().to_numpy()])
    low = 0.0 if family(column.type) == "time" or several[0] >= 0 else None
    reason = f"{family(column.type)}s in {_range(unit, several)}"
    return dataclasses.replace(base, kind="real", reason=reason, step=1.0, unit=unit, low=low)


def _constant(base: Column, levels: tuple[Level, ...]) -> Column:
    shown = str(levels[0]).strip()
    return dataclasses.replace(base, kind="constant", reason=f"always {shown}", value=levels[0])


def _with_levels(base: Column, kind: str, levels: tuple[Level, ...]) -> Column:
    shown = [str(level).strip() for level in levels]
    if len(levels) == 2:
        reason = " and ".join(shown)
    elif kind == "ordinal":
        reason = " < ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])
    else:
        reason = f"{len(levels):,} levels, such as {', '.join(shown[:3])}"
    return dataclasses.replace(base, kind=kind, reason=reason, levels=levels)


def _forced(base: Column, column: pa.ChunkedArray, kind: str) -> Column:
    """Return the column as the kind that was given, if its cells can be that."""
    _check(base, column)
    if kind in WITH_LEVELS + ("constant",):
        levels = levels_of(column)
        if kind == "ordinal" and pa.types.is_dictionary(column.type) and column.type.ordered:
            levels = declared_levels(column)
        if (kind == "constant" and len(levels) != 1) or (kind == "binary" and len(levels) > 2):
            most = {"constant": 1, "binary": 2}[kind]
            raise LogvarError(
                f"is to be {kind} and has {len(levels):,} distinct values: expected {most}; give it "
                "another kind"
            )
        return _constant(base, levels) if kind == "constant" else _with_levels(base, kind, levels)
    if kind == "date":
        read = typed(column).column if family(column.type) == "text" else column
        if family(read.type) != "date":
            raise LogvarError(
                f"is to be a date and holds {column.type}, such as "
                f"{column.drop_null()[0].as_py()!r}: expected dates, or texts like 2020-01-31"
            )
        return _date(base, read)
    if family(column.type) in ("time", "duration"):
        return _span(base, column)
    values = as_numbers(column, dataclasses.replace(base, kind=kind))
    values = values[~np.isnan(values)]
    return _number(base, kind, values, column.type)


def _range(what: str, several: np.ndarray) -> str:
    """Say from where to where the numbers go."""
    first, last = (
        f"{end:,.0f}" if end.is_integer() and abs(end) < 1e15 else f"{end:.6g}"
        for end in (float(several[0]), float(several[-1]))
    )
    return f"{what} from {first} to {last}"
