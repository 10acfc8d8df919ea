"""Which cells of a table are missing together: its patterns of holes and how often each occurs."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from logvar.randomness import Purpose, host_stream

_MOST = 1000
"""Patterns that are kept, the commonest first; the rarest of a table with more count as these."""


@dataclasses.dataclass(frozen=True, eq=False)
class Holes:
    """Patterns of missing cells, drawn as the training rows have them.

    Args:
        patterns: (patterns, columns), whether a cell is missing.
        shares: how much of the rows each has.
    """

    patterns: Bool[np.ndarray, "patterns columns"]
    shares: Float[np.ndarray, "patterns"]

    @classmethod
    def of_cells(cls, cells: Float[np.ndarray, "rows columns"]) -> "Holes":
        """Return the patterns of some rows, whose missing cells are NaN."""
        patterns, counts = np.unique(np.isnan(cells), axis=0, return_counts=True)
        commonest = np.argsort(-counts, kind="stable")[:_MOST]
        counts = counts[commonest].astype(float)
        return cls(patterns[commonest], counts / counts.sum())

    def drawn(self, rows: int, seed: int) -> Bool[np.ndarray, "rows columns"]:
        """Draw the holes of some rows; row i is a function of (seed, i)."""
        return self.drawing(seed)(rows)

    def drawing(self, seed: int) -> Callable[[int], Bool[np.ndarray, "rows columns"]]:
        """Return what draws the holes of the next n rows."""
        generator, ends = host_stream(seed, Purpose.MISSING), np.cumsum(self.shares)

        def drawn(rows: int) -> Bool[np.ndarray, "rows columns"]:
            places = np.searchsorted(ends / ends[-1], generator.random(rows), side="right")
            return self.patterns[places]

        return drawn
