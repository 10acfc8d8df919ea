"""Rows of a sparse matrix, which are never dense as a whole.

On the host, and on the device for training, they are compressed sparse rows (CSR). A compiled
program gathers the rows of its batch, each padded to the most values that one row has, and
scatters them into zeros: the batch is dense, and the matrix is not.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from logvar.backend.streamed import StreamedRows
from logvar.errors import LogvarError


class Padded(eqx.Module):
    """Rows of a batch (or one row): the values that are not 0, and their columns.

    Each row is padded to one number of values with the column `features`, which does not exist.
    """

    values: Any
    """(*rows, width)."""
    columns: Any
    """(*rows, width), int32."""
    features: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        """The number of cells."""
        return math.prod(self.values.shape[:-1]) * self.features

    def dense(self) -> Array:
        """Return the rows with their zeros, (*rows, features)."""

        def of_row(values: Array, columns: Array) -> Array:
            empty = jnp.zeros(self.features, values.dtype)
            return empty.at[columns].set(values, mode="drop")

        for _ in self.values.shape[:-1]:
            of_row = jax.vmap(of_row)
        return of_row(self.values, self.columns)


class Stored(eqx.Module):
    """Compressed sparse rows on the device."""

    values: Any
    """(stored,)."""
    columns: Any
    """(stored,), int32."""
    starts: Any
    """(rows + 1,), int32."""
    features: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    """The most values that one row has."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, indices: Int[Array, "batch"]) -> Padded:
        """Gather the rows of a batch."""
        first, end = self.starts[indices], self.starts[indices + 1]
        positions = first[:, None] + jnp.arange(self.width, dtype=first.dtype)
        there = positions < end[:, None]
        columns = jnp.where(there, self.columns.at[positions].get(mode="clip"), self.features)
        values = self.values.at[positions].get(mode="clip")
        return Padded(values, columns, self.features)


@dataclasses.dataclass(frozen=True, eq=False)
class SparseRows:
    """Compressed sparse rows on the host: in each row, columns in order and without zeros.

    Args:
        values: (stored,), real numbers.
        columns: (stored,), int32.
        starts: (rows + 1,), int64: where each row starts in them.
        features: the number of columns.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    features: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, features)."""
        return len(self), self.features

    @property
    def ndim(self) -> int:
        return 2

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """The bytes in memory."""
        return self.values.nbytes + self.columns.nbytes + self.starts.nbytes

    def __getitem__(self, rows: Any) -> "SparseRows":
        """Return the rows of a slice, of indices or of a mask."""
        which = np.atleast_1d(np.arange(len(self))[rows])
        first, counts = self.starts[which], np.diff(self.starts)[which]
        starts = np.concatenate([[0], np.cumsum(counts)])
        positions = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
        return SparseRows(self.values[positions], self.columns[positions], starts, self.features)

    def astype(self, dtype: Any) -> "SparseRows":
        """Return the rows with their values in another dtype."""
        return dataclasses.replace(self, values=self.values.astype(dtype, copy=False))

    def place(self, position: int) -> tuple[int, int]:
        """Return (row, column) of a stored value."""
        row = int(np.searchsorted(self.starts, position, side="right")) - 1
        return row, int(self.columns[position])

    def totals(self) -> np.ndarray:
        """Return the sum of each row, in float64."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return np.bincount(rows, self.values.astype(np.float64), len(self))

    def dense(self) -> np.ndarray:
        """Return the rows with their zeros; for a few rows."""
        rows = np.zeros(self.shape, self.dtype)
        rows[np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns] = self.values
        return rows

    @property
    def width(self) -> int:
        """The most values that one row has, up to the next power of two, for fewer programs."""
        most = int(np.diff(self.starts).max(initial=1))
        return min(1 << (most - 1).bit_length(), self.features)

    def padded(self) -> Padded:
        """Return the rows as a compiled program takes them."""
        width, counts = self.width, np.diff(self.starts)
        columns = np.full((len(self), width), self.features, np.int32)
        values = np.zeros((len(self), width), self.dtype)
        there = np.arange(width) < counts[:, None]
        columns[there], values[there] = self.columns, self.values
        return Padded(values, columns, self.features)

    def stored(self) -> Stored:
        """Return the rows as a program takes them that visits all of them in batches.

        Raises:
            ValueError: there are more values than int32 counts.
        """
        if len(self.values) >= 2**31:
            raise ValueError(f"{len(self.values):,} values: a device's indices end at 2³¹")
        values = np.append(self.values, self.dtype.type(0))  # a matrix of zeros has one to gather
        columns = np.append(self.columns, np.int32(self.features))
        return Stored(values, columns, self.starts.astype(np.int32), self.features, self.width)


InMemory = np.ndarray | SparseRows
"""Rows on the host, all of them in memory."""
Rows = np.ndarray | SparseRows | StreamedRows
"""Rows on the host: an array, a sparse matrix, or rows that are read when they are needed."""


def joined(first: Rows, second: Rows) -> Rows:
    """Return the rows of both, one after the other; both are arrays, or both are sparse."""
    if not isinstance(first, SparseRows):
        return np.concatenate([first, array_of(second)])
    assert isinstance(second, SparseRows)
    starts = np.concatenate([first.starts, first.starts[-1] + second.starts[1:]])
    values = np.concatenate([first.values, second.values])
    return SparseRows(
        values, np.concatenate([first.columns, second.columns]), starts, first.features
    )


def array_of(rows: Rows) -> np.ndarray:
    """Return rows that have to be an array.

    Raises:
        LogvarError: they are a sparse matrix, or are read when they are needed.
    """
    if isinstance(rows, StreamedRows):
        raise LogvarError(
            f"{rows.name} ({len(rows):,} rows) is read as it is needed, and all of it is required "
            "in memory here: load it, or give fewer rows"
        )
    if isinstance(rows, SparseRows):
        raise LogvarError(
            f"Sparse data was passed ({len(rows):,} rows), but dense data is required here: use "
            "X.toarray()"
        )
    return rows


def as_arrays(tree: Any) -> Any:
    """Return a tree whose sparse rows are padded, which are arrays with an axis of rows."""
    return jax.tree.map(lambda leaf: leaf.padded() if isinstance(leaf, SparseRows) else leaf, tree)
