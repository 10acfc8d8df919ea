"""Cells that are texts: which mark a missing cell, and which columns are numbers or dates."""

import datetime
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import family, plain

MARKS = (
    "", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NAN", "null", "NULL", "NaT",
)  # fmt: skip
"""Texts that mark a missing cell in every column."""
WEAK_MARKS = (
    "-", "--", ".", "none", "None", "NONE", "na", "missing", "Missing", "unknown", "Unknown",
    "#DIV/0!", "#VALUE!", "#REF!", "#NUM!",
)  # fmt: skip
"""Texts that mark one among numbers or dates, but may be a level among texts."""
MOSTLY = 0.8
"""From this share of numbers (or dates) on, a column's other texts are taken for mistakes."""

_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|Inf|INF|infinity|Infinity)"
_INTEGER = r"[+-]?\d+"
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
_DATE = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)? ?(Z|UTC|[+-]\d{2}:?\d{2})?"
)


class Typed(NamedTuple):
    """What a column of texts holds: numbers or dates, or else texts."""

    column: pa.ChunkedArray
    """The column, typed if all its cells are of one kind."""
    note: str = ""
    """How its cells were read, if not plainly."""
    problem: str = ""
    """Why it stays a column of texts although most of it is numbers or dates."""


def without_marks(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str]:
    """Return a column with null for each mark of a missing cell and each NaN, and which marks."""
    kind = family(column.type)
    if kind == "float":
        if pa.types.is_float16(column.type):
            column = column.cast(pa.float32())
        bad = pc.is_nan(column)
        return (pc.if_else(bad, None, column) if pc.any(bad).as_py() else column), ""
    if kind != "text" and not (kind == "category" and family(column.type.value_type) == "text"):
        return column, ""
    values = plain(column)
    marks = pc.is_in(pc.utf8_trim_whitespace(values), pa.array(MARKS))
    if not pc.any(marks).as_py():
        return column, ""
    seen = pc.unique(values.filter(marks)).to_pylist()
    note = f"{' and '.join(repr(mark.strip()) for mark in sorted(seen))} as missing"
    if kind == "text":
        return pc.if_else(marks, pa.scalar(None, column.type), column), note
    whole = pa.concat_arrays(column.unify_dictionaries().chunks)
    indices = pc.if_else(marks.combine_chunks(), None, whole.indices)
    restored = pa.DictionaryArray.from_arrays(
        indices, whole.dictionary, ordered=column.type.ordered
    )
    return pa.chunked_array([restored]), note


class Distinct(NamedTuple):
    """The distinct texts of a column, stripped of surrounding blanks, and where they are."""

    texts: list[str]
    index: np.ndarray
    """(rows,) which text, −1 where the cell is missing."""

    def column(self, values: pa.Array) -> pa.ChunkedArray:
        """Return the column with each text replaced by its value."""
        index = pa.array(self.index, mask=self.index < 0)
        return pa.chunked_array([values.take(index)])

    def first(self, text: str) -> int:
        """Return the first row with a text."""
        return int(np.argmax(self.index == self.texts.index(text)))

    def cells(self, chosen: np.ndarray) -> int:
        """Return how many cells hold one of the chosen texts."""
        counts = np.bincount(self.index[self.index >= 0], minlength=len(self.texts))
        return int(counts[chosen].sum())


def distinct(column: pa.ChunkedArray) -> Distinct:
    """Return the distinct texts of a column of texts."""
    stripped = pc.utf8_trim_whitespace(plain(column))
    encoded = pc.dictionary_encode(stripped)
    whole = pa.concat_arrays(encoded.unify_dictionaries().chunks)
    index = pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)
    return Distinct(whole.dictionary.to_pylist(), index.astype(np.int64))


def has_decimal_commas(column: pa.ChunkedArray) -> bool:
    """Return whether all cells are numbers, and only decimal commas explain them."""
    texts = [text for text in distinct(column).texts if text not in WEAK_MARKS]
    return bool(texts) and _style(texts, ("plain", "points", "commas", "spaces")) == "commas"


def typed(column: pa.ChunkedArray, decimal_commas: bool = False) -> Typed:
    """Return a column of texts as numbers or dates if all its cells are.

    Whole numbers with leading zeros, such as postal codes, stay texts.
    """
    cells = distinct(column)
    texts = np.array(cells.texts, object)
    weak = np.isin(texts, WEAK_MARKS) if len(texts) else np.zeros(0, bool)
    rest = [text for text in cells.texts if text not in WEAK_MARKS]
    if not rest:
        return Typed(column)
    marked = [text for text in cells.texts if text in WEAK_MARKS]
    notes = [f"{' and '.join(map(repr, sorted(marked)))} as missing"] if marked else []
    percent = all(text.endswith("%") for text in rest)
    bare = [text[:-1].rstrip() for text in rest] if percent else rest
    order = ("plain", "points", "commas", "spaces")
    style = _style(bare, ("commas", "plain", "points", "spaces") if decimal_commas else order)
    if style is not None:
        if any(_LEADING_ZERO.fullmatch(text) for text in bare):
            return Typed(column)
        values = _numbers(bare, style)
        if values is None:
            return Typed(column)
        if _STYLES[style][0] and any(re.search(r"[,. '’\u00a0\u202f]", text) for text in bare):
            notes.append(_STYLES[style][0])
        notes += ["without their % signs"] * percent
    else:
        dates = _dates(rest)
        if isinstance(dates, str):
            return Typed(column, problem=_problem(cells, weak) or dates)
        if dates is None:
            return Typed(column, problem=_problem(cells, weak))
        values, note = dates
        notes += [note] * bool(note)
    position = np.cumsum(~weak) - 1
    index = np.where(cells.index < 0, -1, np.where(weak, -1, position)[cells.index])
    return Typed(Distinct(rest, index).column(values), ", ".join(notes))


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
        whole = [int(text) for text in bare]
        return pa.array(whole, pa.int64()) if max(map(abs, whole)) < 2**63 else None
    return pa.array([float(text) for text in bare], pa.float64())


def _dates(texts: list[str]) -> tuple[pa.Array, str] | str | None:
    """Return dates and how they were written; in words why not; None if the texts are no dates."""
    found = [_DATE.fullmatch(text) for text in texts]
    if not all(found):
        return None
    parts = [match.groups() for match in found if match]
    forms = {
        (len(p[0]) == 4, len(p[3]) == 4, p[1]): text for p, text in zip(parts, texts, strict=True)
    }
    if len(forms) > 1 or next(iter(forms))[0] == next(iter(forms))[1]:
        return "dates in mixed formats, such as " + " and ".join(
            map(repr, list(forms.values())[:3])
        )
    (year_first, _, separator), note = next(iter(forms)), ""
    if year_first:
        order = (0, 2, 3)
    else:
        order = (3, 2, 0)
        firsts, seconds = [int(p[0]) for p in parts], [int(p[2]) for p in parts]
        if separator == "." or max(firsts) > 12 >= max(seconds):
            note = "dates written as day, month, year"
        elif max(seconds) > 12 >= max(firsts):
            order, note = (3, 0, 2), "dates written as month, day, year"
        elif max(firsts) > 12:
            return (
                "dates in mixed formats: the first number is above 12 in some, the second in others"
            )
        else:
            return "dates whose day and month cannot be told apart"
    zoned = {p[8] is not None for p in parts}
    if len(zoned) > 1:
        return "dates in mixed formats: some with and some without a time zone"
    try:
        values = [_moment(p, order) for p in parts]
    except ValueError as error:
        return f"dates, but not all exist ({error})"
    if all(p[4] is None for p in parts):
        return pa.array([value.date() for value in values], pa.date32()), note
    return pa.array(values, pa.timestamp("us", "UTC" if True in zoned else None)), note


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
    numeric = re.compile("|".join(style[1] for style in _STYLES.values())).fullmatch
    for what, matches in (("numbers", numeric), ("dates", _DATE.fullmatch)):
        good = np.array([bool(matches(text)) for text in cells.texts], bool)
        odd = ~good & ~weak
        n_good, n_odd = cells.cells(good), cells.cells(odd)
        if not odd.any() or good.sum() <= 10 or n_good < MOSTLY * (n_good + n_odd):
            continue
        examples = [text for text, is_odd in zip(cells.texts, odd, strict=True) if is_odd][:3]
        shown = ", ".join(f"{text!r} (row {cells.first(text)})" for text in examples)
        return f"{what}, but {n_odd:,} of {n_good + n_odd:,} cells are none: {shown}"
    return ""
