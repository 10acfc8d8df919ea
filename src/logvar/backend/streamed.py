"""Rows that are read when they are needed: as many as fit on a disk, and few of them in memory.

`StreamedRows` stands beside arrays and sparse rows: a shape, a dtype, and indexing that returns an
array in memory. A `Reader` behind it knows the files; views leave rows out, choose some, or convert
each block as it is read.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

NUMBERS_AT_ONCE = 2**20
"""How many numbers a pass over rows holds at a time."""

Where = slice | np.ndarray
"""Rows to read: a slice from 0 ≤ start ≤ stop with step 1, or increasing indices, each once."""


@runtime_checkable
class Reader(Protocol):
    """Reads rows of one source."""

    @property
    def name(self) -> str:
        """The source's name in messages, such as its path."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, *shape of one example)."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype of what `read` returns."""

    def read(self, where: Where) -> np.ndarray:
        """Return rows in memory.

        Raises:
            LogvarError: the source cannot be read, or has changed since it was opened.
        """

    def check(self) -> None:
        """Check that the source is still what was opened.

        Raises:
            LogvarError: it has changed.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedRows:
    """Rows that are read when they are needed.

    Args:
        reader: what reads them.

    Example:
        >>> import numpy as np
        >>> from logvar.data.streamed import streamed_rows
        >>> rows = streamed_rows(np.arange(12.0).reshape(6, 2))
        >>> rows.shape, rows[[4, 1]].tolist(), len(rows.without(np.array([0, 3])))
        ((6, 2), [[8.0, 9.0], [2.0, 3.0]], 4)
    """

    reader: Reader

    def __len__(self) -> int:
        return self.reader.shape[0]

    @property
    def name(self) -> str:
        """The source's name in messages."""
        return self.reader.name

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, *shape of one example)."""
        return self.reader.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.reader.dtype

    @property
    def nbytes(self) -> int:
        """The bytes that all rows would have in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return the rows of an integer, a slice, indices in any order, or a mask, in memory."""
        if isinstance(rows, int | np.integer):
            at = range(len(self))[int(rows)]
            return self.reader.read(slice(at, at + 1))[0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self.reader.read(slice(start, max(start, stop)))
            rows = np.arange(start, stop, step)
        which = np.asarray(rows)
        if which.dtype == np.bool_:
            if which.shape != (len(self),):
                raise IndexError(f"a mask of shape {which.shape} for {len(self)} rows")
            which = np.flatnonzero(which)
        if which.ndim != 1 or (len(which) and which.dtype.kind not in "iu"):
            raise IndexError(f"rows are indexed by one axis of integers, not by {which!r:.80}")
        which = which.astype(np.int64)
        which = np.where(which < 0, which + len(self), which)
        if len(which) and not 0 <= which.min() <= which.max() < len(self):
            raise IndexError(f"rows {which.min()} to {which.max()} of {len(self)}")
        if (np.diff(which) > 0).all():
            return self.reader.read(which)
        found, back = np.unique(which, return_inverse=True)
        return self.reader.read(found)[back]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            f"{self.name} has {len(self):,} rows that are read when they are needed: use "
            "in_memory() for an array of all of them"
        )

    def in_memory(self) -> np.ndarray:
        """Return all rows as an array."""
        return self.reader.read(slice(0, len(self)))

    def without(self, left_out: np.ndarray) -> "StreamedRows":
        """Return a view without some rows; only their increasing indices are kept."""
        return StreamedRows(Without(self.reader, np.asarray(left_out, np.int64)))

    def at(self, indices: np.ndarray) -> "StreamedRows":
        """Return a view of some rows, by increasing indices."""
        return StreamedRows(Chosen(self.reader, np.asarray(indices, np.int64)))

    def converted(
        self,
        convert: Callable[[np.ndarray, Where], np.ndarray],
        dtype: Any,
        shape: tuple[int, ...] | None = None,
    ) -> "StreamedRows":
        """Return a view that converts each block of rows as it is read.

        Args:
            convert: from (some rows, which they are) to as many.
            dtype: of the result.
            shape: of one example of the result, if it is another.
        """
        of_one = self.shape[1:] if shape is None else shape
        return StreamedRows(Converted(self.reader, convert, np.dtype(dtype), of_one))

    def check(self) -> None:
        """Check that the source is still what was opened; see `Reader`."""
        self.reader.check()


@dataclasses.dataclass(frozen=True, eq=False)
class Without:
    """Rows without those of some increasing indices; row i is found by bisection, not by a list."""

    of: Reader
    left_out: np.ndarray

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.of.shape[0] - len(self.left_out), *self.of.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.of.dtype

    def read(self, where: Where) -> np.ndarray:
        if not isinstance(where, slice):
            return self.of.read(passing_over(where, self.left_out))
        if where.start == where.stop:
            return self.of.read(slice(0, 0))
        first, last = passing_over(np.array([where.start, where.stop - 1]), self.left_out).tolist()
        low, high = np.searchsorted(self.left_out, [first, last + 1])
        if high - low > where.stop - where.start:  # mostly rows to pass over
            return self.of.read(passing_over(np.arange(where.start, where.stop), self.left_out))
        together = self.of.read(slice(first, last + 1))
        return np.delete(together, self.left_out[low:high] - first, 0) if high > low else together

    def check(self) -> None:
        self.of.check()


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """Some rows, by increasing indices."""

    of: Reader
    indices: np.ndarray

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.indices), *self.of.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.of.dtype

    def read(self, where: Where) -> np.ndarray:
        return self.of.read(self.indices[where])

    def check(self) -> None:
        self.of.check()


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
    """Rows in another form, made as they are read."""

    of: Reader
    convert: Callable[[np.ndarray, Where], np.ndarray]
    dtype: np.dtype
    of_one: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.of.shape[0], *self.of_one)

    def read(self, where: Where) -> np.ndarray:
        rows = self.of.read(where)
        if not len(rows):
            return np.zeros((0, *self.of_one), self.dtype)
        return self.convert(rows, where)

    def check(self) -> None:
        self.of.check()


def passing_over(positions: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Return the row of each position among the rows that are not left out.

    Row r is at position r − #{left out < r}: the j-th row left out, l_j, precedes position p if
    l_j − j ≤ p.

    Example:
        >>> passing_over(np.arange(4), np.array([0, 3]))
        array([1, 2, 4, 5])
    """
    gaps = left_out - np.arange(len(left_out))
    return positions + np.searchsorted(gaps, positions, side="right")


def row_at(where: Where, position: int) -> int:
    """Return the number of a row that was read, by its position among those read."""
    return int(where.start + position if isinstance(where, slice) else where[position])


class Block(NamedTuple):
    """Some consecutive rows."""

    start: int
    rows: np.ndarray


def blocks(rows: Any, numbers: int = NUMBERS_AT_ONCE) -> Iterator[Block]:
    """Yield consecutive rows of an array or of streamed rows, about so many numbers at a time.

    The blocks are the same wherever the rows are, so sums over them are, too.
    """
    size = max(1, numbers // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), size):
        yield Block(start, rows[start : start + size])
