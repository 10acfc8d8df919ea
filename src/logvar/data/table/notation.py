"""How a text file writes numbers and dates: found in its cells, and used to write them again.

A notation is a text that shows it: `0.00` has two decimals in every cell, `#.##0,00` also points
between thousands and a decimal comma, `0,#` any number of decimals, `0%` a sign after each number;
`DD.MM.YYYY hh:mm` is a moment. `D` and `M` alone are days and months without a leading zero. An
empty notation is plain: the shortest decimals that tell the number, and 2020-01-31 10:30:00.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import PER_DAY, family, plain, symbol_of, unit_of
from logvar.errors import LogvarError

_NUMBER = re.compile(r"(?:#(?P<between>.)##)?0(?:(?P<mark>[.,])(?P<decimals>0+|#))?(?P<percent>%?)")
_FIXED = re.compile(r"[+-]?\d+\.(\d+)")
_TOKENS = {
    "YYYY": "%Y", "MM": "%m", "M": "%m", "DD": "%d", "D": "%d", "hh": "%H", "mm": "%M", "ss": "%S",
}  # fmt: skip
_TOKEN = re.compile("YYYY|MM|M|DD|D|hh|mm|ss")


class Number(NamedTuple):
    """The parts of a notation of numbers."""

    between: str
    """The separator of thousands."""
    mark: str
    """The decimal mark."""
    decimals: int | None
    """How many every cell has; None if they differ."""
    percent: str

    @property
    def text(self) -> str:
        """The notation; empty if it is plain."""
        whole = f"#{self.between}##0" if self.between else "0"
        decimals = "#" if self.decimals is None else "0" * self.decimals
        found = whole + (self.mark + decimals if decimals else "") + self.percent
        return "" if found in ("0", "0.#") else found


def number_of(notation: str) -> Number:
    """Return the parts of a notation of numbers.

    Raises:
        LogvarError: it is none.

    Example:
        >>> number_of("#.##0,00")
        Number(between='.', mark=',', decimals=2, percent='')
    """
    match = _NUMBER.fullmatch(notation or "0.#")
    if match is None:
        raise LogvarError(
            f"{notation!r} is no notation of numbers: expected one such as 0.00, #.##0,00 or 0%"
        )
    decimals = match["decimals"] or ""
    fixed = None if decimals == "#" else len(decimals)
    return Number(match["between"] or "", match["mark"] or ".", fixed, match["percent"])


def of_plain_numbers(texts: pa.ChunkedArray) -> str:
    """Return the notation of numbers with decimal points: of a fixed number of decimals, or plain.

    Example:
        >>> of_plain_numbers(pa.chunked_array([["9.90", "12.00", None]]))
        '0.00'
    """
    known = texts.drop_null()
    first = _FIXED.fullmatch(known[0].as_py()) if len(known) else None
    if first is None:
        return ""
    decimals = len(first[1])
    same = pc.match_substring_regex(known, rf"^[+-]?\d+\.\d{{{decimals}}}$")
    return "0." + "0" * decimals if pc.all(same).as_py() else ""


def of_numbers(texts: Sequence[str], mark: str, separators: str, *, percent: bool) -> str:
    """Return the notation of numbers in one style.

    Args:
        texts: the distinct cells, without signs of percent.
        mark: the decimal mark.
        separators: what may stand between thousands.
        percent: whether a sign of percent follows each.
    """
    between = {character for text in texts for character in text if character in separators}
    ends = [text.partition(mark) for text in texts]
    exponents = any(set(text) & set("eE") for text in texts)
    decimals = {len(end[2]) for end in ends}
    if exponents or len(between) > 1:
        return ""
    fixed = decimals.pop() if len(decimals) == 1 else None
    return Number("".join(between), mark, fixed, "%" * percent).text


def of_dates(texts: Sequence[str], parts: Sequence[tuple], order: tuple[int, int, int]) -> str:
    """Return the notation of dates that have one order and one separator; empty if it is plain.

    Args:
        texts: the distinct cells.
        parts: of each what `texts._DATE` found in it: three numbers and a separator, hour, minute,
            second, fraction and time zone.
        order: which of these are year, month and day.
    """
    year, month, day = order
    padded = all(len(part[i]) == 2 for part in parts for i in (month, day))
    tokens = {year: "YYYY", month: "MM" if padded else "M", day: "DD" if padded else "D"}
    date = parts[0][1].join(tokens[i] for i in sorted(tokens))
    if all(part[4] is None for part in parts):
        return "" if date == "YYYY-MM-DD" else date
    zones = {part[8] for part in parts}
    mixed = len({(part[6] is None, part[7] is not None) for part in parts}) > 1
    if mixed or parts[0][7] is not None or any(len(part[4] or "") != 2 for part in parts):
        return "" if date == "YYYY-MM-DD" else f"{date} hh:mm:ss"
    joint = "T" if all("T" in text for text in texts) else " "
    time = "hh:mm" if parts[0][6] is None else "hh:mm:ss"
    zone = zones.pop() if zones <= {None, "Z"} and len(zones) == 1 else None
    found = f"{date}{joint}{time}{zone or ''}"
    return "" if found == "YYYY-MM-DD hh:mm:ss" else found


def day_first(notation: str) -> bool | None:
    """Return whether dates have their day before their month; None if they begin with the year.

    Example:
        >>> day_first("DD/MM/YYYY"), day_first("M/D/YYYY"), day_first("YYYY-MM-DD")
        (True, False, None)
    """
    return {"D": True, "M": False}.get(notation[:1])


def written(column: pa.ChunkedArray, notation: str = "", unit: str = "") -> pa.ChunkedArray:
    """Return a column's cells as texts, null where missing.

    A number with more decimals than the notation has, or a moment with seconds where it has none,
    is written with them, so that nothing is lost.

    Args:
        column: numbers, dates, texts or booleans.
        notation: that of the column's file, if it is known.
        unit: of dates, the finest unit to write, unless the cells need a finer one.

    Raises:
        pyarrow.ArrowNotImplementedError: the type has no texts.

    Example:
        >>> written(pa.chunked_array([[9.9, None, 0.125]]), "0,00").to_pylist()
        ['9,90', None, '0,125']
    """
    kind = family(column.type)
    if kind == "date":
        return _dates(plain(column), notation, unit)
    if notation and kind in ("integer", "float") and _NUMBER.fullmatch(notation):
        number = number_of(notation)
        return pa.chunked_array(
            [[_number(cell, number) for cell in column.to_pylist()]], pa.string()
        )
    return plain(column).cast(pa.string())


def _number(cell: int | float | None, number: Number) -> str | None:
    if cell is None:
        return None
    decimals = number.decimals
    if decimals is not None and abs(round(cell, decimals) - cell) > 1e-14 * abs(cell):
        decimals = None  # it has more of them than the file's own numbers
    if decimals is not None:
        text = f"{cell + 0:,.{decimals}f}"  # 0 has no sign then
    elif isinstance(cell, int):
        text = f"{cell:,}"
    else:
        whole, point, rest = np.format_float_positional(cell + 0, trim="-").partition(".")
        text = f"{'-' * whole.startswith('-')}{int(whole.lstrip('-')):,}{point}{rest}"
    swapped = text.translate({ord(","): number.between, ord("."): number.mark})
    return swapped + number.percent


def _dates(column: pa.ChunkedArray, notation: str, unit: str) -> pa.ChunkedArray:
    if pa.types.is_date(column.type):
        if not notation:
            return column.cast(pa.date32()).cast(pa.string())
        column = column.cast(pa.timestamp("ms" if column.type == pa.date64() else "s"))
        return _formatted(column, notation.split("hh")[0].rstrip(" T"))
    finest = max(unit or "days", unit_of(column), key=list(PER_DAY).index)
    zone = column.type.tz
    if finest == "days" and not zone and (not notation or "hh" not in notation):
        days = column.cast(pa.date32(), safe=False)
        return _dates(days, notation, "") if notation else days.cast(pa.string())
    column = column.cast(pa.timestamp(symbol_of(finest), zone), safe=False)
    if not notation or (zone is not None) != notation.endswith("Z") or "hh" not in notation:
        return column.cast(pa.string())
    if ":ss" not in notation and not _whole_minutes(column):
        notation = notation.replace("hh:mm", "hh:mm:ss")
    return _formatted(column, notation)


def _whole_minutes(column: pa.ChunkedArray) -> bool:
    seconds = pc.add(pc.second(column), pc.subsecond(column))
    return not pc.any(pc.greater(seconds, 0)).as_py()


def _formatted(column: pa.ChunkedArray, notation: str) -> pa.ChunkedArray:
    """Return moments in a notation; fractions of a second follow Arrow's own."""
    texts = pc.strftime(column, _TOKEN.sub(lambda token: _TOKENS[token[0]], notation))
    for token in ("M", "D"):
        if re.search(rf"(?<![{token}]){token}(?!{token})", notation):
            place = notation.index(token)
            before = _lengths_before(notation, place)
            texts = _without_zero(texts, before)
    return texts


def _lengths_before(notation: str, place: int) -> int:
    """Return how many separators stand before a token of the date."""
    return len(re.findall(r"[-/.]", notation[:place]))


def _without_zero(texts: pa.ChunkedArray, number: int) -> pa.ChunkedArray:
    """Remove the leading zero of a date's number: the first, the second or the third."""
    pattern = rf"^((?:[^-/.]*[-/.]){{{number}}})0(\d)"
    return pc.replace_substring_regex(texts, pattern, r"\1\2")
