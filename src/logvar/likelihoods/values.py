"""Checks of the values that a likelihood scores."""

import numpy as np

from logvar.backend.sparse import InMemory, SparseRows
from logvar.errors import BadCell, LogvarError

MOST_COUNTS = 2**24
"""The largest count: float32 holds all integers up to it."""


def place(at: np.ndarray) -> str:
    """Describe the position of a value."""
    column = int(at[1]) if len(at) == 2 else tuple(int(i) for i in at[1:])
    return f"row {at[0]}, column {column} (counting from 0)"


def check_integers(rows: np.ndarray, likelihood: str, levels: int) -> None:
    """Check that all values are integers from 0 to levels − 1.

    Raises:
        LogvarError: one is not; the message says where.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        off = (rows != np.round(rows)) | (rows < 0) | (rows > levels - 1)
        off &= rows == rows  # a missing cell has no value to check
    if off.any():
        at = np.argwhere(off)[0]
        raise LogvarError(
            f"likelihood {likelihood!r} got {_shown(float(rows[tuple(at)]))} at {place(at)}: "
            "expected integers "
            f"from 0 to {levels - 1}; give pixels as uint8, or use another likelihood"
        )


def _shown(value: float) -> str:
    """Write a number so that one beside an integer does not look like it."""
    short = f"{value:g}"
    if float(short) == value or not float(short).is_integer():
        return short
    return repr(value).removesuffix(".0")


def check_counts(rows: InMemory, likelihood: str) -> None:
    """Check that all values are counts 0, 1, 2, … that float32 holds exactly.

    Raises:
        LogvarError: one is not; the message says where.
    """
    values = rows.values if isinstance(rows, SparseRows) else rows
    with np.errstate(over="ignore", invalid="ignore"):
        off = (values != np.round(values)) | (values < 0) | (values > MOST_COUNTS)
        off &= values == values  # a missing cell has no value to check
    if off.any():
        at = tuple(np.argwhere(off)[0].tolist())
        row, *rest = rows.place(at[0]) if isinstance(rows, SparseRows) else at
        raise BadCell(
            f"likelihood {likelihood!r} got {_shown(float(values[at]))} at",
            f"expected a count 0, 1, 2, … up to {MOST_COUNTS:,}; give counts as they were "
            "measured, not normalized or logarithms of them, or use likelihood='normal'",
            row,
            rest[0] if len(rest) == 1 else tuple(rest),
        )


def check_totals(rows: InMemory, likelihood: str) -> None:
    """Check that no row is without counts, so that its total can be its library size.

    Raises:
        LogvarError: one is; the message says which, and how many there are.
    """
    empty = np.flatnonzero(totals(rows) == 0)
    if len(empty):
        raise BadCell(
            f"likelihood {likelihood!r} got",
            f"without a count ({len(empty):,} such row{'s' * (len(empty) > 1)}): expected a total "
            "above 0, which is the row's library size; drop such rows, or set library=none",
            int(empty[0]),
            joint="",
        )


def totals(rows: InMemory, *, whole: bool = False) -> np.ndarray:
    """Return the total of each row over its observed cells, in float64.

    Args:
        rows: counts.
        whole: for the total of a row with missing cells if those had the mean of its others.
    """
    if isinstance(rows, SparseRows):
        return rows.totals()
    flat = rows.reshape(len(rows), -1)
    found = np.asarray(np.nansum(flat, axis=1, dtype=np.float64))
    if whole and flat.dtype.kind == "f":
        found *= flat.shape[1] / np.maximum((flat == flat).sum(1), 1)
    return found
