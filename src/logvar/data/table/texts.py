"""Cells that are texts: which mark a missing cell, and which columns are numbers or dates."""

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table import notation
from logvar.data.table.arrow import family, is_text, plain

MARKS = (
    "", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NAN", "null", "NULL", "NaT",
)  # fmt: skip
"""Texts that mark a missing cell in every column."""
WEAK_MARKS = (
    "-", "--", ".", "none", "None", "NONE", "na", "missing", "Missing", "unknown", "Unknown",
    "#DIV/0!", "#VALUE!", "#REF!", "#NUM!",
)  # fmt: skip
"""Texts that mark one among numbers or dates, but may be a level among texts."""
MIXED = "dates in mixed formats"
UNCLEAR = "dates whose day and month cannot be told apart"
MOSTLY = 0.8
"""From this share of numbers (or dates) on, a column's other texts are taken for mistakes."""

_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|Inf|INF|infinity|Infinity)"
_INTEGER = r"[+-]?\d+"
_LONGEST_INTEGER = 1000
"""Digits; Python refuses to read some thousands."""
_LEADING_ZERO = re.compile(r"[+-]?0\d+")
# How numbers are written: what to call it, what each cell must match, what to remove, the comma.
_STYLES = {
    "plain": ("", _PLAIN, "", "."),
    "points": (
        "with commas between thousands",
        rf"{_PLAIN}|[+-]?\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?", ",", ".",
    ),
    "commas": (
        "with decimal commas",
        r"[+-]?(?:\d+|\d{1,3}(?:[. '’\u00a0\u202f]\d{3})+)(?:,\d+)?(?:[eE][+-]?\d+)?",
        ". '’\u00a0\u202f", ",",
    ),
    "spaces": (
        "with spaces between thousands",
        rf"{_PLAIN}|[+-]?\d{{1,3}}(?:[ '’\u00a0\u202f]\d{{3}})+(?:\.\d+)?",
        " '’\u00a0\u202f", ".",
    ),
}  # fmt: skip
_SEPARATORS = ",. '’\u00a0\u202f"
_NUMBER = re.compile("|".join(style[1] for style in _STYLES.values()))
_DATE = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)? ?(Z|UTC|[+-]\d{2}:?\d{2})?"
)

_WITH_SIGNS = re.compile(r"[^\w\s.,]{0,3} ?\(?[-+−]?\d[\d.,]*\)? ?[^\d\s]{0,4}")
_OTHER_DATE = re.compile(
    r"(?i:.*\b\d{1,2}[ -]?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2}\b.*"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2}\b.*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4} .*[ap]\.?m\.?)"
)


class Typed(NamedTuple):
    """The content of a column of texts: numbers or dates, or else texts."""

    column: pa.ChunkedArray
    """The column, typed if all its cells are of one kind."""
    note: str = ""
    """How its cells were read, if not plainly."""
    problem: str = ""
    """Why it stays a column of texts although most of it is numbers or dates."""
    marks: str = ""
    """Which texts are missing cells, beside those that mark one in every column."""
    notation: str = ""
    """How its numbers or dates are written; see `table.notation`."""


def is_number(text: str) -> bool:
    """Return whether a cell is a number, in whatever style it is written."""
    return _NUMBER.fullmatch(text.removesuffix("%").rstrip()) is not None


def is_date(text: str) -> bool:
    """Return whether a cell looks like a date."""
    return _DATE.fullmatch(text) is not None


def unread(texts: Sequence[str]) -> str:
    """Say what texts may be that are read as texts; nothing if they look like no other thing.

    Example:
        >>> unread(["$1,200", "$90"])
        "if '$1,200' and the like are numbers, write them without signs and units"
    """
    if all(_OTHER_DATE.fullmatch(text) for text in texts):
        return f"if {texts[0]!r} and the like are dates, write them as 2020-01-31"
    signs = [text for text in texts if not is_number(text)]
    if 2 * len(signs) > len(texts) and all(_WITH_SIGNS.fullmatch(text) for text in signs):
        return f"if {signs[0]!r} and the like are numbers, write them without signs and units"
    return ""


def without_marks(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str]:
    """Return a column with null for each mark of a missing cell and each NaN, and which marks."""
    kind = family(column.type)
    if kind == "float":
        narrow = pa.types.is_float16(column.type)
        bad = pc.is_nan(column.cast(pa.float32()) if narrow else column)
        if pc.any(bad).as_py():
            nothing = pa.scalar(None, column.type)
            column = pc.if_else(bad, nothing, column)
        return column, ""
    if kind != "text" and not (kind == "category" and is_text(column.type.value_type)):
        return column, ""
    values = plain(column)
    marks = pc.is_in(pc.utf8_trim_whitespace(values), pa.array(MARKS))
    if not pc.any(marks).as_py():
        return column, ""
    seen = {mark.strip() for mark in pc.unique(values.filter(marks)).to_pylist()}
    note = _quoted(seen)
    if kind == "text":
        return pc.if_else(marks, pa.scalar(None, column.type), column), note
    whole = pa.concat_arrays(column.unify_dictionaries().chunks)
    indices = pc.if_else(marks.combine_chunks(), None, whole.indices)
    return _of_codes(indices, whole.dictionary, column.type), note


def _of_codes(indices: pa.Array, levels: pa.Array, kind: pa.DictionaryType) -> pa.ChunkedArray:
    restored = pa.DictionaryArray.from_arrays(indices, levels, ordered=kind.ordered)
    return pa.chunked_array([restored])


def _quoted(marks: set[str]) -> str:
    return ", ".join(repr(mark) if mark else "empty" for mark in sorted(marks))


class Distinct(NamedTuple):
    """The distinct texts of a column, stripped of surrounding blanks, and where they are."""

    texts: list[str]
    places: np.ndarray
    """(rows,) which text, −1 where the cell is missing."""

    def column(self, values: pa.Array) -> pa.ChunkedArray:
        """Return the column with each text replaced by its value."""
        return pa.chunked_array([values.take(pa.array(self.places, mask=self.places < 0))])

    def first(self, text: str) -> int:
        """Return the first row with a text."""
        return int(np.argmax(self.places == self.texts.index(text)))

    def cells(self, chosen: np.ndarray) -> int:
        """Return how many cells hold one of the chosen texts."""
        counts = np.bincount(self.places[self.places >= 0], minlength=len(self.texts))
        return int(counts[chosen].sum())


def distinct(column: pa.ChunkedArray) -> Distinct:
    """Return the distinct texts of a column of texts."""
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(plain(column)))
    whole = pa.concat_arrays(encoded.unify_dictionaries().chunks)
    places = pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)
    return Distinct(whole.dictionary.to_pylist(), places.astype(np.int64))


def typed(column: pa.ChunkedArray, decimal_commas: bool = False, like: str = "") -> Typed:
    """Return a column of texts as numbers or dates if all its cells are.

    Whole numbers with leading zeros, such as postal codes, stay texts.

    Args:
        column: the column, null where missing.
        decimal_commas: whether numbers are written with decimal commas where both can be.
        like: the notation of other cells of this column, which says what is the day and what the
            month where these do not tell.
    """
    if not decimal_commas and (quick := _plain_numbers(column)) is not None:
        texts = pc.utf8_trim_whitespace(plain(column))
        decimals = pa.types.is_floating(quick.type)
        return Typed(quick, notation=notation.of_plain_numbers(texts) if decimals else "")
    cells = distinct(column)
    weak = np.array([text in WEAK_MARKS for text in cells.texts], bool)
    rest = [text for text in cells.texts if text not in WEAK_MARKS]
    if not rest:
        return Typed(column)
    marks = _quoted({text for text in cells.texts if text in WEAK_MARKS})
    percent = all(text.endswith("%") for text in rest)
    bare = [text[:-1].rstrip() for text in rest] if percent else rest
    first = ("commas",) if decimal_commas else ()
    style = _style(bare, (*first, "plain", "points", "commas", "spaces"))
    notes = []
    if style is not None:
        values = _numbers(bare, style)
        if values is None or any(_LEADING_ZERO.fullmatch(text) for text in bare):
            return Typed(column)
        if _STYLES[style][0] and any(set(text) & set(_SEPARATORS) for text in bare):
            points = style == "commas" and not any("," in text for text in bare)
            notes.append("with points between thousands" if points else _STYLES[style][0])
        notes += ["read without the % signs"] * percent
        _, _, removed, comma = _STYLES[style]
        form = notation.of_numbers(bare, comma, removed, percent=percent)
    else:
        dates = _dates(rest, like)
        if dates is None or isinstance(dates, str):
            return Typed(column, problem=_problem(cells, weak) or dates or "")
        values, note, form = dates
        notes += [note] * bool(note)
    position = np.cumsum(~weak) - 1
    places = np.where(cells.places < 0, -1, np.where(weak, -1, position)[cells.places])
    found = Distinct(rest, places).column(values)
    return Typed(found, ", ".join(notes), marks=marks, notation=form)


def _plain_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return plainly written numbers, by Arrow's own fast reading, or None."""
    texts = pc.utf8_trim_whitespace(plain(column))
    if (
        texts.null_count == len(texts)
        or pc.any(
            pc.match_substring_regex(texts, r"^[+-]?0\d|[xXnN]")  # codes; 0x10, and nan
        ).as_py()
    ):
        return None
    whole = not pc.any(pc.match_substring_regex(texts, r"[.eE]")).as_py()
    try:
        return texts.cast(pa.int64() if whole else pa.float64())
    except pa.ArrowInvalid:
        return None


def _style(texts: list[str], order: tuple[str, ...]) -> str | None:
    for name in order:
        match = re.compile(_STYLES[name][1]).fullmatch
        if all(match(text) for text in texts):
            return name
    return None


def _numbers(texts: list[str], style: str) -> pa.Array | None:
    """Return int64 if all are whole, else float64; None if they are too large for int64."""
    _, _, removed, comma = _STYLES[style]
    bare = [text.lstrip("+") for text in texts]
    if removed:
        table = str.maketrans("", "", removed)
        bare = [text.translate(table).replace(comma, ".") for text in bare]
    if all(re.fullmatch(_INTEGER, text) for text in bare):
        if max(map(len, bare)) > _LONGEST_INTEGER:
            return None
        whole = [int(text) for text in bare]
        return pa.array(whole, pa.int64()) if max(map(abs, whole)) < 2**63 else None
    return pa.array([float(text) for text in bare], pa.float64())


def _dates(texts: list[str], like: str) -> tuple[pa.Array, str, str] | str | None:
    """Return dates, how they were read and their notation; in words why not; None if the texts are
    no dates."""
    if not all(map(is_date, texts)):
        return None
    parts = [match.groups() for text in texts if (match := _DATE.fullmatch(text))]
    forms: dict[tuple[bool, bool, str], str] = {}
    for part, text in zip(parts, texts, strict=True):
        forms.setdefault((len(part[0]) == 4, len(part[3]) == 4, part[1]), text)
    if any(year_first == year_last for year_first, year_last, _ in forms):
        return None
    year_first, _, separator = next(iter(forms))
    if len(forms) > 1:
        shown = " and ".join(map(repr, list(forms.values())[:3]))
        return f"{MIXED}, such as {shown}: expected one, such as 2020-01-31"
    order, note = (0, 2, 3), ""
    if not year_first:
        order, note = (3, 2, 0), "dates read as day, month, year"
        first, second = (max(int(p[i]) for p in parts) for i in (0, 2))
        if separator != "." and first <= 12 < second:
            order, note = (3, 0, 2), "dates read as month, day, year"
        elif separator != "." and first > 12 and second > 12:
            return f"{MIXED}: the first number is above 12 in some, the second in others"
        elif separator != "." and first <= 12:
            known = notation.day_first(like)
            if known is None:
                return UNCLEAR
            if not known:
                order, note = (3, 0, 2), "dates read as month, day, year"
    zoned = {p[8] is not None for p in parts}
    if len(zoned) > 1:
        return f"{MIXED}: some with and some without a time zone"
    try:
        values = [_moment(p, order) for p in parts]
    except (ValueError, OverflowError) as error:
        return f"dates, but not all exist ({error})"
    form = notation.of_dates(texts, parts, order)
    if all(p[4] is None for p in parts):
        return pa.array([value.date() for value in values], pa.date32()), note, form
    return pa.array(values, pa.timestamp("us", "UTC" if True in zoned else None)), note, form


def _moment(parts: tuple[str | None, ...], order: tuple[int, int, int]) -> datetime.datetime:
    year, month, day = (int(parts[i] or 0) for i in order)
    hour, minute, second = (int(parts[i] or 0) for i in (4, 5, 6))
    micro = int(((parts[7] or "") + "000000")[:6])
    moment = datetime.datetime(year, month, day, hour, minute, second, micro)
    zone = parts[8]
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        offset = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment -= offset if zone[0] == "+" else -offset
    return moment


def _problem(cells: Distinct, weak: np.ndarray) -> str:
    """Say which cells keep a column from being numbers or dates, if most of it is."""
    for what, matches in (("numbers", is_number), ("dates", is_date)):
        some = cells.texts[:: max(1, len(cells.texts) // 200)]
        if sum(map(matches, some)) < 0.5 * MOSTLY * len(some):
            continue  # most columns of texts are told by a few of them
        good = np.array([matches(text) for text in cells.texts], bool)
        odd = ~good & ~weak
        n_good, n_odd = cells.cells(good), cells.cells(odd)
        if not odd.any() or good.sum() <= 10 or n_good < MOSTLY * (n_good + n_odd):
            continue
        examples = [text for text, is_odd in zip(cells.texts, odd, strict=True) if is_odd][:3]
        shown = ", ".join(f"{text!r} (row {cells.first(text)})" for text in examples)
        return f"{what}, but {n_odd:,} of {n_good + n_odd:,} cells are not {what}: {shown}"
    return ""
