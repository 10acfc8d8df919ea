"""The feed of a run whose rows are shuffled a window at a time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from logvar.backend.streamed import StreamedRows
from logvar.data.examples import Examples
from logvar.data.order import aligned, taken
from logvar.data.windows import Order, Window
from logvar.models.batch import Batch
from logvar.processes.placement import Placement, several
from logvar.training.feed import Cut, Feed, Streamed
from logvar.training.loop import Plan


def feed_of(
    examples: Examples, plan: Plan, window: Window | None, placement: Placement | None = None
) -> Feed | None:
    """Return the feed of a run; None if all of its rows are shuffled at once, in memory.

    One of several processes reads the rows of its own devices alone.
    """
    n, streamed = len(examples), isinstance(examples.values, StreamedRows)
    if not streamed and (window is None or window.is_all_of(n)):
        return None
    order = Order(n, plan.seed, n if window is None else window.rows)
    source: Cut = examples
    visits = order.visits
    if streamed and several():
        source = Picked(examples)
    elif streamed:
        source = ahead = WindowsAhead(examples, order)
        visits = ahead.visits
    return Streamed(source, plan.fixed.batch_size, visits, placement=placement)


class Picked:
    """Rows that are read by their numbers, a span at a time: some of each window."""

    def __init__(self, examples: Examples):
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def cut(self, rows: Int[np.ndarray, "some"]) -> Batch:
        """Read some rows, each once and in the order of the data."""
        numbers, places = np.unique(rows, return_inverse=True)
        values = taken(np.asarray(self._examples.values[numbers]), places)
        return self._examples.batch(values, rows)


class WindowsAhead:
    """Rows that are read a window at a time, in the order of the data within each block.

    While a window's rows are cut, the blocks of the next one are read, as many of them as the share
    of rows cut so far; so the reading is spread evenly over the steps, and at most two windows are
    in memory.
    """

    def __init__(self, examples: Examples, order: Order):
        assert isinstance(examples.values, StreamedRows)
        self._examples, self._order, self._values = examples, order, examples.values
        self._entered: list[_Loaded] = []
        self._ahead: _Loaded | None = None

    def __len__(self) -> int:
        return len(self._examples)

    def visits(self, epoch: int, position: int) -> Iterator[Int[np.ndarray, "window"]]:
        """Yield the rows of an epoch in the order it visits them, a window at a time, each read
        before."""
        first = self._order.window_at(epoch, position)
        for window, rows in enumerate(self._order.visits(epoch, position), first):
            self._enter(epoch, window)
            yield rows

    def cut(self, rows: Int[np.ndarray, "some"]) -> Batch:
        """Return some rows as training takes them; those of no window that was entered are read."""
        found = aligned((len(rows), *self._values.shape[1:]), self._values.dtype)
        absent = np.ones(len(rows), bool)
        for loaded in self._entered:
            at = loaded.places(rows)
            there = at >= 0
            if there.all():
                np.take(loaded.rows, at, axis=0, out=found, mode="clip")
            else:
                found[there] = loaded.rows[at[there]]
            absent &= ~there
        if absent.any():
            found[absent] = self._values[rows[absent]]
        self._read_ahead(len(rows))
        return self._examples.batch(found, rows)

    def _enter(self, epoch: int, window: int) -> None:
        found, self._ahead = self._ahead, None
        if found is None or found.of != (epoch, window):
            found = _Loaded(self._values, self._order, epoch, window)
        found.fill(1.0)
        self._entered.append(found)

    def _read_ahead(self, cut: int) -> None:
        if not self._entered:
            return
        # Rows that an earlier window left over are in the first cut after the next is entered.
        self._entered = self._entered[-1:]
        current = self._entered[0]
        current.visited += cut
        if self._ahead is None and self._order.windows > 1:
            epoch, window = current.of
            following = (epoch, window + 1) if window + 1 < self._order.windows else (epoch + 1, 0)
            self._ahead = _Loaded(self._values, self._order, *following)
        if self._ahead is not None:
            self._ahead.fill(current.visited / len(current.rows))


class _Loaded:
    """The rows of a window, block by block in the order of the data."""

    def __init__(self, values: StreamedRows, order: Order, epoch: int, window: int):
        self.of = (epoch, window)
        self.visited = 0
        pieces = order.pieces(epoch, window)
        self._starts = np.array([start for start, _ in pieces])
        self._sizes = np.array([stop - start for start, stop in pieces])
        self._offsets = np.concatenate([[0], np.cumsum(self._sizes)])
        self._values, self._filled = values, 0
        self.rows = np.empty((self._offsets[-1], *values.shape[1:]), values.dtype)

    def fill(self, share: float) -> None:
        """Read blocks up to a share of all."""
        for i in range(self._filled, min(len(self._sizes), int(np.ceil(share * len(self._sizes))))):
            start, size = int(self._starts[i]), int(self._sizes[i])
            at = self._offsets[i]
            self.rows[at : at + size] = self._values[start : start + size]
            self._filled = i + 1

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return where each row is among those loaded, −1 if it is not."""
        block = np.maximum(np.searchsorted(self._starts, rows, side="right") - 1, 0)
        within = rows - self._starts[block]
        there = (within >= 0) & (within < self._sizes[block])
        return np.where(there, self._offsets[block] + within, -1)
