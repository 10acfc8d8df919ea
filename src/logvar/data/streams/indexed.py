"""Rows of any object with a length and indexing by an array of rows."""

import dataclasses
import zlib
from typing import Any

import numpy as np

from logvar.backend.streamed import Where
from logvar.data.streams.npy import runs
from logvar.errors import LogvarError

_BROKEN = (TypeError, ValueError, KeyError, IndexError, OSError, EOFError, RuntimeError, zlib.error)
"""The errors of objects that do not take these rows, or whose chunks cannot be decompressed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Indexed:
    """Rows of an object that returns those of an increasing array of indices, or of a slice."""

    source: Any
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    takes_slices: bool = False
    """Whether it takes slices as well, and reads them faster than many indices."""

    def read(self, where: Where) -> np.ndarray:
        if not isinstance(where, slice):
            pieces = runs(where) if self.takes_slices else []
            if not pieces or 4 * len(pieces) > len(where):
                return self._read(where, where)
            found = [self.read(slice(first, first + size)) for first, _, size in pieces]
            return np.concatenate(found)
        which = np.arange(where.start, where.stop)
        return self._read(where if self.takes_slices else which, which)

    def _read(self, asked: Where, where: np.ndarray) -> np.ndarray:
        if not len(where):
            return np.zeros((0, *self.shape[1:]), self.dtype)
        rows = _rows_of(self.source, asked, self.name)
        if rows.shape != (len(where), *self.shape[1:]) or rows.dtype != self.dtype:
            raise LogvarError(
                f"{self.name} gave {rows.dtype} of shape {rows.shape} for rows {where[0]:,} to "
                f"{where[-1]:,}: expected {self.dtype} of shape {(len(where), *self.shape[1:])}, "
                "as its first row has; check its __getitem__"
            )
        return rows

    def check(self) -> None:
        if (length := _length(self.source)) != self.shape[0]:
            raise LogvarError(
                f"{self.name} had {self.shape[0]:,} rows and has {length:,}: expected "
                "data that stay as they are; start again"
            )


def open_indexed(source: Any, name: str = "X") -> Indexed:
    """Return a reader of an object, after reading its first row.

    Raises:
        LogvarError: it has no rows, or does not take an array of indices.
    """
    length = _length(source)
    if length == 0:
        raise LogvarError(f"{name} has 0 rows: expected some; give it rows")
    first = _rows_of(source, np.zeros(1, np.int64), name)
    if first.ndim < 1 or len(first) != 1:
        raise LogvarError(
            f"{name} gave an array of shape {first.shape} for the rows [0]: expected (1, …), a row "
            "for each index; check its __getitem__"
        )
    return Indexed(source, name, (length, *first.shape[1:]), first.dtype, _takes_slices(source))


def _length(source: Any) -> int:
    """Return the number of rows; an array of zarr has a shape and no length."""
    return len(source) if hasattr(source, "__len__") else int(source.shape[0])


def _takes_slices(source: Any) -> bool:
    """Return whether it is known that an object takes slices."""
    known = type(source).__module__.split(".")[0] in ("h5py", "zarr", "numpy")
    return known or bool(getattr(source, "takes_slices", False))


def _rows_of(source: Any, where: Where, name: str) -> np.ndarray:
    try:
        return np.asarray(source[where])
    except _BROKEN as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        first, last = (
            (where.start, where.stop - 1) if isinstance(where, slice) else (where[0], where[-1])
        )
        raise LogvarError(
            f"{name} ({type(source).__name__}) cannot be read at rows {first:,} to "
            f"{last:,} ({reason}): expected an object that takes an array of row numbers and "
            "returns those rows"
        ) from error
