"""The rows that a summary is taken from where not all are looked at: medians, quantiles, kinds."""

import math

import numpy as np
from jaxtyping import Int

from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows
from logvar.data.windows import Window, drawn_rows
from logvar.randomness import Purpose, host_stream

ENOUGH = 2**18
"""Rows of a sample, unless their cells are too many."""
_CELLS = 2**22


def sampled_rows(n: int, cells: int, seed: int) -> Int[np.ndarray, "some"]:
    """Return increasing indices of the rows to look at, drawn from n rows of so many cells.

    Example:
        >>> len(sampled_rows(1000, 3, 0)), len(sampled_rows(10**9, 3, 0))
        (1000, 262144)
    """
    size = min(n, ENOUGH, max(1, _CELLS // max(1, cells)))
    if size == n:
        return np.arange(n)
    return drawn_rows(n, size, host_stream(seed, Purpose.SUMMARY))


def sample_of(rows: Rows, seed: int, window: Window | None) -> np.ndarray | SparseRows:
    """Return the training rows that medians and quantiles are taken from.

    All of them where all are shuffled at once or they are few, otherwise a sample: the same
    wherever the rows are.
    """
    if window is None or window.is_all_of(len(rows)):
        return rows.in_memory() if isinstance(rows, StreamedRows) else rows
    chosen = sampled_rows(len(rows), math.prod(rows.shape[1:]), seed)
    return rows if len(chosen) == len(rows) and not isinstance(rows, StreamedRows) else rows[chosen]
