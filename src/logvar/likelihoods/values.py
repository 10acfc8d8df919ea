"""Checks of the values that a likelihood scores."""

import numpy as np

from logvar.errors import LogvarError


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
            f"likelihood {likelihood!r} got {rows[tuple(at)]:g} at {place(at)}: expected integers "
            f"from 0 to {levels - 1}; give pixels as uint8, or use another likelihood"
        )
