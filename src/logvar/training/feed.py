"""Where the batches of an epoch come from: rows on the device, or spans of steps read ahead.

A run whose rows fit keeps them all on the device. Otherwise the host cuts the rows of a span of
steps, in the order the epoch visits them, and one thread reads the next span while the device
trains on this one. Both feed the same steps with the same rows, so a run's bytes depend on the
order alone.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from logvar.backend.compiling import host_int
from logvar.data.examples import Examples
from logvar.data.order import epoch_order, padded
from logvar.models.batch import Batch
from logvar.processes.placement import Placement
from logvar.training.step import Epoch

_BYTES_PER_SPAN = 2**24
Visits = Callable[[int, int], Iterator[Int[np.ndarray, "window"]]]
"""visits(epoch, position) yields the rows of an epoch in the order it visits them, from a position
onwards, a window at a time."""


class Span(NamedTuple):
    """Steps [start, stop) of an epoch, whose rows are on the device."""

    epoch: Epoch
    start: int
    stop: int


@runtime_checkable
class Feed(Protocol):
    """The batches of a run, as a function of (epoch, step)."""

    @property
    def rows(self) -> int:
        """The number of training rows."""

    @property
    def steps(self) -> int:
        """The number of steps of an epoch."""

    def spans(self, number: int, first: int) -> Generator[Span, None, None]:
        """Yield the steps of an epoch from step `first` to its end."""

    def batch(self, number: int, t: int) -> tuple[Batch, Int[np.ndarray, "valid"]]:
        """Return the stored rows of one step with their weights, and which rows they are.

        Padding has weight 0, and is not among the latter.
        """


@runtime_checkable
class Cut(Protocol):
    """Rows that can be cut: `Examples`, or rows that are read when they are needed."""

    def __len__(self) -> int: ...

    def cut(self, rows: Int[np.ndarray, "some"]) -> Batch:
        """Return stored rows in memory, with their labels and weights."""


def on_device(examples: Examples, placement: Placement | None = None) -> Batch:
    """Move training rows to the device, padded so that similar numbers share a compiled program.

    With a placement, all of its devices get all rows.
    """
    rows = jax.tree.map(padded, examples.training)
    return jax.device_put(rows) if placement is None else placement.everywhere(rows)


class Resident:
    """All rows on the device, visited in the order of a permutation.

    Args:
        examples: the training rows.
        batch_size: the number of rows of a step.
        seed: of the order.
        placement: the devices, if there are several.
    """

    def __init__(
        self, examples: Examples, batch_size: int, seed: int, placement: Placement | None = None
    ):
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed
        self._placed = on_device(examples, placement)
        self._placement = placement
        self.rows = len(examples)
        self.steps = -(-self.rows // batch_size)

    def spans(self, number: int, first: int) -> Generator[Span, None, None]:
        """Yield the rest of the epoch as one span."""
        order: Any = epoch_order(self.rows, self._batch_size, self._seed, number)
        if self._placement is not None:
            order = self._placement.cut(self._placement.mine(order.reshape(-1, self._batch_size)))
        yield Span(
            Epoch(self._placed, order, host_int(self.rows), host_int(number)), first, self.steps
        )

    def batch(self, number: int, t: int) -> tuple[Batch, Int[np.ndarray, "valid"]]:
        """Return the rows of one step."""
        order = epoch_order(self.rows, self._batch_size, self._seed, number)
        rows = order[t * self._batch_size : (t + 1) * self._batch_size]
        valid = rows[: self.rows - t * self._batch_size]
        return _weighted(self._examples.cut(rows), len(valid)), valid


class Streamed:
    """Rows that are cut on the host, a span of steps at a time, ahead of the steps.

    Args:
        source: the training rows.
        batch_size: the number of rows of a step.
        visits: the order of each epoch.
        bytes_per_span: about how much is moved to the device at once.
        placement: the devices, if there are several; a process reads the rows of its own alone.
    """

    def __init__(
        self,
        source: Cut,
        batch_size: int,
        visits: Visits,
        bytes_per_span: int = _BYTES_PER_SPAN,
        placement: Placement | None = None,
    ):
        self._placement = placement
        self._source = source
        self._batch_size = batch_size
        self._visits = visits
        self.rows = len(source)
        self.steps = -(-self.rows // batch_size)
        one = sum(leaf.nbytes for leaf in jax.tree.leaves(source.cut(np.zeros(1, np.int64))))
        self._steps_per_span = min(max(1, bytes_per_span // (one * batch_size)), self.steps)

    def spans(self, number: int, first: int) -> Generator[Span, None, None]:
        """Yield the rest of the epoch in spans; the next is read while one is trained on."""
        with ThreadPoolExecutor(1, "logvar-reads-ahead") as reader:
            cuts = self._cuts(number, first)
            ahead: Future = reader.submit(next, cuts, None)
            with contextlib.closing(cuts):
                try:
                    while (span := ahead.result()) is not None:
                        ahead = reader.submit(next, cuts, None)
                        yield span
                finally:
                    ahead.exception()  # a generator cannot be closed while it runs

    def batch(self, number: int, t: int) -> tuple[Batch, Int[np.ndarray, "valid"]]:
        """Return the rows of one step."""
        with contextlib.closing(self._spans_of_rows(number, t, 1)) as found:
            valid = next(found)
        return _weighted(self._source.cut(self._filled(valid, 1)), len(valid)), valid

    def _cuts(self, number: int, first: int) -> Generator[Span, None, None]:
        start = first
        for rows in self._spans_of_rows(number, first, self._steps_per_span):
            stop = start + -(-len(rows) // self._batch_size)
            cut = self._placed(self._filled(rows, self._steps_per_span))
            epoch = Epoch(cut, None, host_int(self.rows), host_int(number), host_int(start))
            yield Span(epoch, start, stop)
            start = stop

    def _placed(self, rows: np.ndarray) -> Batch:
        """Read the rows of a span and move them to the device, or to each its part of them."""
        if self._placement is None:
            return jax.device_put(self._source.cut(rows))
        mine = self._placement.mine(rows.reshape(-1, self._batch_size))
        return self._placement.cut(self._source.cut(mine))

    def _spans_of_rows(
        self, number: int, first: int, steps: int
    ) -> Generator[np.ndarray, None, None]:
        """Yield the rows of as many steps at a time, in the order they are visited."""
        size = steps * self._batch_size
        left = np.zeros(0, np.int64)
        for window in self._visits(number, first * self._batch_size):
            left = np.concatenate([left, window])
            whole = len(left) // size * size
            yield from np.split(left[:whole], whole // size) if whole else ()
            left = left[whole:]
        if len(left):
            yield left

    def _filled(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """Fill rows up to whole steps with their first one, so that all spans share a program."""
        missing = steps * self._batch_size - len(rows)
        return np.concatenate([rows, np.repeat(rows[:1], missing)]) if missing else rows


def _weighted(batch: Batch, valid: int) -> Batch:
    weight = (np.arange(len(batch)) < valid).astype(np.float32)
    if batch.weight is not None:
        weight = weight * batch.weight
    return Batch(batch.x, batch.observed, batch.condition, batch.label, weight)
