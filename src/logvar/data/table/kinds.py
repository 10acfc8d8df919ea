"""Find the kind of every column of a table, with the reason in words."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import EXACT, family, numbers, plain, unit_of
from logvar.data.table.cells import as_numbers, remedy
from logvar.data.table.frame import Table
from logvar.data.table.levels import declared_levels, levels_of
from logvar.data.table.said import (
    OF_NUMBERS,
    as_written,
    check_fits,
    check_numbers,
    fields_of,
    with_fields,
)
from logvar.data.table.schema import NUMBERS, WITH_LEVELS, Column, Level, Name, Schema
from logvar.data.table.texts import UNCLEAR, typed, unread
from logvar.errors import LogvarError

FEW = 20
"""Up to this number of distinct texts are categories, unless no two rows share one."""
ROWS_PER_LEVEL = 5
"""More texts are categories if each has this number of rows on average."""
MOST_LEVELS = 1000
"""Still more are an identifier or free text, which a softmax would not learn."""
DECIMALS = 6
"""Numbers with at most this many decimals have a step; others are continuous."""

_ID = re.compile(
    r"(?i:(row|record|.*[\W_])?(ids?|uuid|guid|index|idx|key|no|nr|number))|.*[a-z](ID|Id)|"
)


def found(table: Table, overrides: Mapping[Name, Any] = {}) -> Schema:
    """Return the schema of a table; what is wrong with any column is reported at once.

    Args:
        table: the table.
        overrides: for some columns their kind, a dict of a column's fields, or a whole `Column`,
            whose levels, unit, value and reason are found where it has none.

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
    given = fields_of(table, overrides)
    columns, problems = [], []
    for i, name in enumerate(table.names):
        try:
            columns.append(_column(table, i, given.get(name)))
        except LogvarError as error:
            problems.append(f"column {str(name).strip()!r} {error}")
    if problems:
        more = f"; and {len(problems) - 20} more columns" if len(problems) > 20 else ""
        raise LogvarError(f"{'; '.join(problems[:20])}{more}")
    if not any(column.is_modelled for column in columns):
        raise LogvarError(
            f"none of the {len(columns)} columns is to be modelled "
            f"({', '.join(f'{c.name}: {c.kind}' for c in columns[:5])}): give one of them another "
            f"kind, as in {remedy(columns[0].name, 'categorical')}"
        )
    return Schema(tuple(columns))


def _column(table: Table, i: int, given: dict[str, Any] | None) -> Column:
    name, column = table.names[i], table.columns[i]
    fields = given or {}
    kind = fields.get("kind")
    base = Column(
        name, kind or "ignored", dtype=str(column.type), native=table.natives[i],
        notation=table.notations.get(name, ""),
    )  # fmt: skip
    if kind is None:
        result = _found(table, base, column)
    elif kind not in (*NUMBERS, *WITH_LEVELS, "constant"):
        result = base
    else:
        result = _forced(base, column, kind)
    check_fits(result, fields)
    if fields.get("levels"):
        levels = as_written(fields["levels"], result.levels)
        several = result.kind == "binary" and len(levels) > 2
        result = _with_levels(result, "categorical" if several else result.kind, levels)
    said = [result.reason]
    if name in table.notes:
        said.append(table.notes[name])
    if column.null_count:
        marks = f" ({table.marks[name]})" if name in table.marks else ""
        said.append(f"{column.null_count:,} of {len(column):,} cells missing{marks}")
    as_given = ["as given"] * bool({"kind", "levels"} & fields.keys())
    reason = "; ".join([*as_given, *filter(None, said)])
    if "reason" in fields and all(part in fields["reason"] for part in said):
        reason = fields["reason"]  # it says more of the same cells
    own = {key: value for key, value in fields.items() if key not in ("levels", "reason")}
    result = with_fields(result, {"reason": reason, **own})
    if result.kind in NUMBERS and fields.keys() & set(OF_NUMBERS):
        check_numbers(column, result)
    declared = declared_levels(column)
    if result.levels and set(declared) - set(result.levels):
        result = dataclasses.replace(result, declared=declared)
    return result


def _found(table: Table, base: Column, column: pa.ChunkedArray) -> Column:
    if base.name in table.row_labels:
        return dataclasses.replace(base, kind="identifier", reason="labels of the file's rows")
    _check(base, column)
    kind = family(column.type)
    if kind in ("text", "category"):
        return _of_texts(base, column)
    if kind == "boolean" or pc.count_distinct(plain(column)).as_py() == 1:
        levels = levels_of(column)
        return _with_levels(base, "binary" if len(levels) == 2 else "constant", levels)
    if kind == "date":
        return _date(base, column)
    if kind in ("time", "duration"):
        return _span(base, column)
    return _of_numbers(base, column)


def _check(base: Column, column: pa.ChunkedArray) -> None:
    """Refuse what no kind can model."""
    kind = family(column.type)
    leave_out = f"leave it out with {remedy(base.name, 'ignored')}"
    if kind == "other":
        raise LogvarError(f"holds {column.type}: expected numbers, texts or dates; {leave_out}")
    if column.null_count == len(column):
        raise LogvarError(f"has only missing cells: expected some others; {leave_out}")
    if kind == "float":
        infinite = np.isinf(numbers(column))
        if infinite.any():
            raise LogvarError(
                f"has {infinite.sum():,} infinite cells, the first at row {infinite.argmax()}: "
                "expected finite numbers; correct them, or leave them empty to be missing"
            )


def _of_texts(base: Column, column: pa.ChunkedArray) -> Column:
    """Return categories, an identifier, a constant, or dates."""
    kind = family(column.type)
    hint = ""
    if kind == "text":
        read = typed(column)
        if read.problem == UNCLEAR:
            hint = f"; {read.problem}: write them as 2020-01-31"
        elif read.problem:
            raise LogvarError(
                f"holds {read.problem}; correct those cells, leave them empty to be missing, or "
                f"keep texts with {remedy(base.name, 'categorical')}"
            )
        if family(read.column.type) == "date" and pc.count_distinct(read.column).as_py() > 1:
            return _date(base, read.column)
        if family(read.column.type) in ("integer", "float"):
            hint = f"; all are numbers: {remedy(base.name, 'real')} models them as such"
    levels = levels_of(column)
    number, rows = len(levels), len(column) - column.null_count
    if kind == "text" and not hint and number > 2:
        hint = "".join(f"; {said}" for said in [unread([str(x).strip() for x in levels])] if said)
    if number == 1:
        return _with_levels(base, "constant", levels)
    if kind == "category" and column.type.ordered and base.native != "Enum":
        return _with_levels(base, "ordinal", declared_levels(column))
    few = number <= FEW and (number < rows or number <= FEW // 2)
    if few or (number * ROWS_PER_LEVEL <= rows and number <= MOST_LEVELS):
        result = _with_levels(base, "binary" if number == 2 else "categorical", levels)
        return dataclasses.replace(result, reason=result.reason + hint)
    reason = f"{number:,} distinct texts in {rows:,} rows, so not modelled{hint}"
    return dataclasses.replace(base, kind="identifier", reason=reason)


def _of_numbers(base: Column, column: pa.ChunkedArray) -> Column:
    values = numbers(column)
    values = values[~np.isnan(values)]
    several = np.unique(values)
    if several.tolist() == [0]:  # 0 and -0.0, which Arrow counts as two
        return _with_levels(base, "constant", (0.0,))
    if several.tolist() == [0, 1]:
        return _with_levels(base, "binary", (0, 1))
    whole = bool((several == np.rint(several)).all())
    integers = family(column.type) == "integer"
    if integers and _ID.fullmatch(str(base.name).strip()) and len(several) > 0.5 * len(values):
        reason = f"{len(several):,} distinct integers in {len(values):,} rows, named like one"
        return dataclasses.replace(base, kind="identifier", reason=reason)
    largest = float(np.abs(several).max())
    if integers and largest > EXACT and len(several) == len(values):
        reason = f"{len(several):,} distinct integers, too large to be counted"
        return dataclasses.replace(base, kind="identifier", reason=reason)
    if integers and largest > EXACT:
        raise LogvarError(
            f"has integers up to {largest:.6g}, and float64 is exact only up to {EXACT:,}: "
            f"expected smaller ones; if they identify rows, give {remedy(base.name, 'identifier')}"
        )
    if whole and several[0] >= 0 and largest <= EXACT:
        result = _number(base, "count", values, column.type)
        counts_rows = len(several) == len(values) > FEW and (np.diff(values) == 1).all()
        if counts_rows:
            hint = (
                f", each one more than the last: leave out with {remedy(base.name, 'identifier')}"
            )
            result = dataclasses.replace(result, reason=result.reason + hint)
        return result
    positive = several[0] > 0 and _reaches_to_zero(several) and _has_a_long_tail(values)
    return _number(base, "positive" if positive else "real", values, column.type)


def _number(base: Column, kind: str, values: np.ndarray, dtype: pa.DataType) -> Column:
    several = np.unique(values)
    step = 1.0 if kind == "count" else _step(several, dtype)
    bounded = kind in ("count", "positive") or _reaches_to_zero(several)
    reason = _range("integers" if step == 1 else "numbers", several)
    if 0 < step < 1:
        reason += f" in steps of {step:g}"
    if kind == "positive":
        reason += ", all above 0"
    elif kind == "real" and bounded:
        reason += ", none below 0"
    zeros = float((values == 0).mean())
    if zeros > 0.5:
        reason += f", {zeros:.0%} of them 0"
    low = 0.0 if bounded else None
    return dataclasses.replace(base, kind=kind, reason=reason, step=step, low=low)


def _step(several: np.ndarray, dtype: pa.DataType) -> float:
    """Return 1, 0.1, 0.01 … if all numbers are written with so many decimals, else 0."""
    if np.abs(several).max() > 1e12:
        return 0.0
    narrow = np.float32 if pa.types.is_float32(dtype) else np.float64
    same = several.astype(narrow)
    for decimals in range(DECIMALS + 1):
        if (np.round(several, decimals).astype(narrow) == same).all():
            return float(f"1e-{decimals}")
    return 0.0


def _reaches_to_zero(several: np.ndarray) -> bool:
    """Return whether no number is below 0, and 0 is nearer to them than their range is wide."""
    return bool(0 <= several[0] <= several[-1] - several[0])


def _has_a_long_tail(values: np.ndarray) -> bool:
    """Return whether the numbers are skewed to the right, and their logarithms less so."""
    skewness = _skewness(values)
    return skewness > 0.5 and abs(_skewness(np.log(values))) < skewness


def _skewness(values: np.ndarray) -> float:
    largest = np.abs(values).max()
    centred = values / largest - np.mean(values / largest)  # cubes of large numbers overflow
    spread = centred.std()
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0


def _range(what: str, several: np.ndarray) -> str:
    """Say from where to where the numbers go."""
    first, last = (
        f"{end:,.0f}" if end.is_integer() and abs(end) < 1e15 else f"{end:.6g}"
        for end in (float(several[0]) + 0.0, float(several[-1]) + 0.0)  # 0 has no sign
    )
    return f"{what} from {first} to {last}"


def _date(base: Column, column: pa.ChunkedArray) -> Column:
    unit = unit_of(column)
    ends = pc.min_max(plain(column)).as_py()
    first, last = (str(ends[end])[: 10 if unit == "days" else 19] for end in ("min", "max"))
    reason = f"{unit} from {first} to {last}"
    step = 60.0 if unit == "seconds" and not (numbers(column, unit) % 60 > 0).any() else 1.0
    return dataclasses.replace(base, kind="date", reason=reason, step=step, unit=unit)


def _span(base: Column, column: pa.ChunkedArray) -> Column:
    """Return a time of day or a duration, as a number with its unit."""
    unit = unit_of(column)
    several = np.unique(numbers(column, unit)[~column.is_null().to_numpy()])
    reason = f"{family(column.type)}s in {_range(unit, several)}"
    low = 0.0 if several[0] >= 0 else None
    return dataclasses.replace(base, kind="real", reason=reason, step=1.0, unit=unit, low=low)


def _with_levels(base: Column, kind: str, levels: tuple[Level, ...]) -> Column:
    """Return a column of levels, or of the one value of a constant."""
    shown = [str(level).strip().removesuffix("T00:00:00") for level in levels]
    if kind == "constant":
        reason = f"always {shown[0]}"
        return dataclasses.replace(base, kind=kind, reason=reason, value=levels[0])
    if kind == "ordinal":
        reason = " < ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])
    elif len(levels) == 2:
        reason = " and ".join(shown)
    else:
        many = f"{len(levels):,} levels, such as" if len(levels) > 1 else "1 level,"
        reason = f"{many} {', '.join(shown[:3])}"
    return dataclasses.replace(base, kind=kind, reason=reason, levels=levels)


def _forced(base: Column, column: pa.ChunkedArray, kind: str) -> Column:
    """Return the column as the kind that was given, if its cells can be that."""
    _check(base, column)
    if kind in (*WITH_LEVELS, "constant"):
        levels = levels_of(column)
        if kind == "ordinal" and pa.types.is_dictionary(column.type) and column.type.ordered:
            levels = declared_levels(column)
        most = {"constant": 1, "binary": 2}.get(kind, len(levels))
        if len(levels) > most:
            raise LogvarError(
                f"has kind {kind}, but {len(levels):,} distinct values: expected {most}; give it "
                "another kind"
            )
        return _with_levels(base, kind, levels)
    if kind == "date":
        read = typed(column) if family(column.type) == "text" else None
        dates = read.column if read else column
        if read and read.notation:
            base = dataclasses.replace(base, notation=read.notation)
        if family(dates.type) != "date":
            shown = (read.problem if read else "") or f"{str(column.drop_null()[0].as_py())!r}"
            raise LogvarError(
                f"has kind date, but holds {shown}: expected dates, or texts like 2020-01-31"
            )
        return _date(base, dates)
    if family(column.type) in ("time", "duration"):
        return _span(base, column)
    values = as_numbers(column, dataclasses.replace(base, kind=kind))
    return _number(base, kind, values[~np.isnan(values)], column.type)
