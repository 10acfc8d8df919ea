"""Whether the first row of a file has the names of its columns, which may be numbers."""

import itertools
import re

from logvar.data.table.texts import MARKS, is_date, is_number

ENOUGH_ROWS = 3
"""With fewer rows below it, a row of numbers is never taken for names."""
ENOUGH_NAMES = 4
"""With fewer columns, evenly spaced numbers are too likely by chance."""


def has_header(first: list[str], rest: list[list[str]]) -> tuple[bool, str]:
    """Return whether the first row has names, and a remark if that is not plain.

    A text above numbers is a name. Numbers are names if they increase and are unlike the numbers
    below: far outside of their range, whole above decimals, or evenly spaced where no other row is.

    Example:
        >>> has_header(["2019", "2020"], [["12.4", "13.1"], ["11.9", "12.2"], ["12.0", "14.0"]])[0]
        True
        >>> has_header(["1", "2"], [["3", "4"]])[0]
        False
    """
    columns = [
        [row[i] for row in rest if i < len(row) and row[i] not in MARKS] for i in range(len(first))
    ]
    shown = ", ".join(first[:3]) + (", …" if len(first) > 3 else "")
    data = (
        f"the first row ({shown}) is read as data, for its cells are like those below; "
        "--header yes reads it as names"
    )
    if not rest:
        return not any(is_number(cell) for cell in first), ""
    numeric = [bool(cells) and all(map(is_number, cells)) for cells in columns]
    dated = [bool(cells) and all(map(is_date, cells)) for cells in columns]
    for cell, cells, number, date in zip(first, columns, numeric, dated, strict=True):
        if cell in MARKS:
            continue
        if (number and not is_number(cell)) or (date and not is_date(cell)):
            return True, ""
        if not number and not date and cells and not is_number(cell) and cell in cells:
            return False, data
    if not first[0] and len(columns[0]) == len(rest):
        return True, ""  # nothing above the labels of rows
    numbers = [i for i, is_numeric in enumerate(numeric) if is_numeric and is_number(first[i])]
    if not numbers:
        return True, ""
    if _are_names([first[i] for i in numbers], [columns[i] for i in numbers], rest, numbers):
        return True, (
            f"the first row ({shown}) is read as names, for its numbers are unlike those below; "
            "--header no reads it as data"
        )
    return False, data


def _are_names(
    first: list[str], columns: list[list[str]], rest: list[list[str]], where: list[int]
) -> bool:
    names = [_number(cell) for cell in first]
    if len(rest) < ENOUGH_ROWS or len(names) < 2 or not _monotone(names):
        return False
    if len(names) >= ENOUGH_NAMES and _evenly_spaced(names):
        rows = [[row[i] for i in where if i < len(row)] for row in rest]
        others = [list(map(_number, row)) for row in rows if all(map(is_number, row))]
        if not any(len(row) == len(names) and _evenly_spaced(row) for row in others):
            return True
    unlike = [_unlike(cell, cells) for cell, cells in zip(first, columns, strict=True)]
    return sum(unlike) >= 0.8 * len(unlike)


def _unlike(cell: str, cells: list[str]) -> bool:
    value, values = _number(cell), [_number(other) for other in cells]
    low, high = min(values), max(values)
    if value < low - (high - low) or value > high + (high - low):
        return True
    whole = re.compile(r"[+-]?\d+").fullmatch
    return bool(whole(cell)) and sum(not whole(other) for other in cells) > 0.9 * len(cells)


def _monotone(values: list[float]) -> bool:
    steps = [after - before for before, after in itertools.pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _evenly_spaced(values: list[float]) -> bool:
    step = values[1] - values[0]
    return step != 0 and all(
        abs(after - before - step) <= 1e-9 * abs(step)
        for before, after in itertools.pairwise(values)
    )


def _number(text: str) -> float:
    """Return a number however it is written; only its rough size matters here."""
    bare = re.sub(r"[ '’%\u00a0\u202f]", "", text)
    if "," in bare:
        bare = bare.replace(".", "").replace(",", ".", 1).replace(",", "")
    try:
        return float(bare)
    except ValueError:
        return float("nan")
