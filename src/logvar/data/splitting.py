"""Which rows train and which are held out: a function of their number, the seed and the window."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from logvar.backend.sparse import Rows
from logvar.backend.streamed import StreamedRows
from logvar.data.order import split, taken
from logvar.data.windows import Window, drawn_rows
from logvar.randomness import Purpose, host_stream


class Halves(NamedTuple):
    """The rows that are held out; all others train."""

    rows: int
    """The number of all rows."""
    held_out: Int[np.ndarray, "held_out"]
    """Increasing indices."""

    @property
    def trained(self) -> Int[np.ndarray, "trained"]:
        """The indices of the rows that train: an array of about as many numbers as rows."""
        kept = np.ones(self.rows, bool)
        kept[self.held_out] = False
        return np.flatnonzero(kept)

    def trained_of(self, rows: Rows) -> Rows:
        """Return the rows that train: a view of streamed rows, otherwise a copy in memory."""
        if isinstance(rows, StreamedRows):
            return rows.without(self.held_out)
        return taken(rows, self.trained)


def split_of(n: int, fraction: float, seed: int, window: Window) -> Halves:
    """Split rows.

    Rows that are all shuffled at once are split as `logvar.data.order.split` does it. Of more, at
    most `window.most_held_out` are held out, and they are drawn without a permutation of all.

    Example:
        >>> split_of(10, 0.2, 0, Window(10, 1)).held_out.tolist()
        [1, 5]
        >>> len(split_of(10**9, 0.1, 0, Window(1000, 50)).held_out)
        50
    """
    if window.is_all_of(n):
        return Halves(n, split(n, fraction, seed)[1])
    if fraction == 0:
        return Halves(n, np.zeros(0, np.int64))
    held_out = min(max(1, round(n * fraction)), n - 1, window.most_held_out)
    return Halves(n, drawn_rows(n, held_out, host_stream(seed, Purpose.SPLIT)))
