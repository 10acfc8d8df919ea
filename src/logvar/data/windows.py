"""The order in which epochs visit rows that are shuffled a window at a time.

Data larger than memory are visited in windows. In each epoch, blocks of consecutive rows are
permuted; some consecutive blocks of that permutation make a window, which is read as a whole, and
its rows are shuffled. Every row is visited once an epoch, and the row at any position is a function
of (seed, epoch, position) that takes one window to compute.

A window of all rows is one permutation of them all, as `logvar.data.order` draws it.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from logvar.backend.sparse import Rows, SparseRows
from logvar.errors import LogvarError
from logvar.randomness import Purpose, host_stream

AUTO, ALL = "auto", "all"
WHOLE = 2**30
"""Up to this many bytes, in the form that a model reads, "auto" shuffles all rows at once."""
AT_A_TIME = 2**26
"""Of more, it shuffles as many as this many bytes hold."""
HELD_OUT = 2**25
"""Where not all rows are shuffled at once, at most this many bytes of rows are held out."""
BLOCKS = 64
"""Blocks in a window: each reads from a different place."""


class Window(NamedTuple):
    """How many rows are shuffled at a time, and how many may be held out."""

    rows: int
    """At least the number of rows if all are."""
    most_held_out: int

    def is_all_of(self, n: int) -> bool:
        """Whether n rows are shuffled at once."""
        return self.rows >= n


def window_of(setting: int | str, rows: Rows, numbers_per_cell: int = 1) -> Window:
    """Return the window for some rows: a function of the data, wherever they are.

    Args:
        setting: a number of rows, "all", or "auto": all rows if they have at most 1 GiB in the form
            that the model reads, otherwise as many as 64 MiB hold.
        rows: all rows, with those that will be held out.
        numbers_per_cell: how many float32 a model reads for each cell that is not a pixel.

    Raises:
        LogvarError: the setting is none of these.

    Example:
        >>> window_of("auto", np.zeros((1000, 4), np.float32)).is_all_of(1000)
        True
        >>> window_of(64, np.zeros((1000, 4))).rows
        64
    """
    return window_for(setting, len(rows), bytes_per_row(rows, numbers_per_cell))


def window_for(setting: int | str, n: int, size: int) -> Window:
    """Return the window for n rows of so many bytes as a model reads them; see `window_of`."""
    held_out = max(1, HELD_OUT // size)
    if setting == AUTO:
        return Window(n if n * size <= WHOLE else max(1, AT_A_TIME // size), held_out)
    if setting == ALL:
        return Window(n, held_out)
    if isinstance(setting, str) or setting < 1:
        raise LogvarError(
            f"window is {setting!r}: expected a number of rows of at least 1, 'all' or 'auto'"
        )
    return Window(int(setting), held_out)


def bytes_per_row(rows: Rows, numbers_per_cell: int = 1) -> int:
    """Return the bytes of a row as a model reads it: a byte a pixel, four a number."""
    if isinstance(rows, SparseRows):
        return max(1, -(-8 * len(rows.values) // max(1, len(rows))))  # a value and its column
    cells = math.prod(rows.shape[1:])
    return max(1, cells if rows.dtype == np.uint8 else 4 * numbers_per_cell * cells)


@dataclasses.dataclass(frozen=True)
class Order:
    """In which order epochs visit n rows.

    Args:
        n: the number of rows.
        seed: of the run.
        window: rows that are shuffled at a time; from n on, all of them.

    Example:
        >>> order = Order(n=10, seed=0, window=4)
        >>> sorted(order.rows(0, 0, 10).tolist()) == list(range(10))
        True
        >>> order.rows(0, 3, 7).tolist() == order.rows(0, 0, 10)[3:7].tolist()
        True
    """

    n: int
    seed: int
    window: int

    @property
    def block(self) -> int:
        """The rows of a block, which are consecutive in the data."""
        return self.n if self.window >= self.n else max(1, self.window // BLOCKS)

    @property
    def blocks(self) -> int:
        """The number of blocks, of which the last may be shorter."""
        return -(-self.n // self.block)

    @property
    def windows(self) -> int:
        """The number of windows in an epoch."""
        return -(-self.blocks // self._blocks_per_window)

    @property
    def _blocks_per_window(self) -> int:
        return 1 if self.window >= self.n else self.window // self.block

    def bounds(self, epoch: int, window: int) -> tuple[int, int]:
        """Return the positions [start, stop) of a window's rows."""
        return self._start(epoch, window), self._start(epoch, window + 1)

    def window_at(self, epoch: int, position: int) -> int:
        """Return the window of a position."""
        whole = self.block * self._blocks_per_window
        window = min(position // whole, self.windows - 1)
        # The shorter block moves all positions after it forwards by less than a block.
        return window + (self._start(epoch, window + 1) <= position < self.n)

    def pieces(self, epoch: int, window: int) -> list[tuple[int, int]]:
        """Return the rows [start, stop) of each block of a window, in the order of the data."""
        size = self._blocks_per_window
        chosen = np.sort(_permuted(self, epoch)[window * size : (window + 1) * size])
        return [(i * self.block, min((i + 1) * self.block, self.n)) for i in chosen.tolist()]

    def of_window(self, epoch: int, window: int) -> Int[np.ndarray, "rows"]:
        """Return the rows of a window in the order in which they are visited."""
        if self.window >= self.n:
            return host_stream(self.seed, Purpose.ORDER, epoch).permutation(self.n)
        rows = np.concatenate([np.arange(*piece) for piece in self.pieces(epoch, window)])
        # A stream's first numbers are those of the same position followed by 0.
        return host_stream(self.seed, Purpose.ORDER, epoch, window + 1).permutation(rows)

    def visits(self, epoch: int, position: int) -> Iterator[Int[np.ndarray, "window"]]:
        """Yield the rows of an epoch in the order it visits them, from a position onwards, a window
        at a time."""
        for window in range(self.window_at(epoch, position), self.windows):
            start = self.bounds(epoch, window)[0]
            yield self.of_window(epoch, window)[max(0, position - start) :]

    def rows(self, epoch: int, start: int, stop: int) -> Int[np.ndarray, "rows"]:
        """Return the rows at the positions [start, stop) of an epoch."""
        found, at = [], start
        while at < stop:
            window = self.window_at(epoch, at)
            first, end = self.bounds(epoch, window)
            visited = _of_window if self.window < self.n else Order.of_window
            found.append(visited(self, epoch, window)[at - first : min(stop, end) - first])
            at = end
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _start(self, epoch: int, window: int) -> int:
        if window >= self.windows:
            return self.n
        blocks = window * self._blocks_per_window
        missing = self.blocks * self.block - self.n
        shorter_is_before = missing and blocks > _place_of_last(self, epoch)
        return blocks * self.block - (missing if shorter_is_before else 0)


@functools.lru_cache(maxsize=2)
def _permuted(order: Order, epoch: int) -> Int[np.ndarray, "blocks"]:
    """Return the blocks in the order of an epoch."""
    if order.blocks == 1:
        return np.zeros(1, np.int64)
    return host_stream(order.seed, Purpose.ORDER, epoch).permutation(order.blocks)


@functools.lru_cache(maxsize=2)
def _place_of_last(order: Order, epoch: int) -> int:
    """Return the place of the last block, which may be shorter, in the permutation of blocks."""
    return int(np.flatnonzero(_permuted(order, epoch) == order.blocks - 1)[0])


@functools.lru_cache(maxsize=2)
def _of_window(order: Order, epoch: int, window: int) -> Int[np.ndarray, "rows"]:
    return order.of_window(epoch, window)


def drawn_rows(n: int, size: int, rng: np.random.Generator) -> Int[np.ndarray, "rows"]:
    """Return `size` different rows of n in increasing order, each set as likely as any other.

    Memory grows with the size and not with n: as many rows as are missing are drawn until all are
    different. No row is told from another, so the set is uniform given its size.
    """
    found = np.zeros(0, np.int64)
    while len(found) < size:
        found = np.union1d(found, rng.integers(n, size=size - len(found)))
    return found
