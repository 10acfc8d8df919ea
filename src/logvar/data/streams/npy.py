"""Rows of a .npy file, read from their places in it.

A memory map would end the process where a file has become shorter, and its pages would count as
the process's memory; reading does neither.
"""

import dataclasses
import io
import math
from pathlib import Path

import numpy as np

from logvar.backend.streamed import Where
from logvar.data.streams.files import Opened
from logvar.errors import LogvarError


@dataclasses.dataclass(frozen=True, eq=False)
class NpyFile:
    """Rows of a .npy file in C order."""

    opened: Opened
    offset: int
    """Where the first row starts, in bytes."""
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def name(self) -> str:
        return str(self.opened.path)

    def read(self, where: Where) -> np.ndarray:
        count = where.stop - where.start if isinstance(where, slice) else len(where)
        rows = np.empty((count, *self.shape[1:]), self.dtype)
        if not rows.size:
            return rows
        flat = rows.reshape(count, -1).view(np.uint8).reshape(-1)
        bytes_per_row = rows.nbytes // count
        try:
            with open(self.opened.path, "rb", buffering=0) as file:
                self.opened.check_descriptor(file.fileno())
                for first, at, length in runs(where):
                    self._fill(
                        file,
                        flat[at * bytes_per_row : (at + length) * bytes_per_row],
                        self.offset + first * bytes_per_row,
                    )
        except OSError as error:
            raise LogvarError(
                f"{self.name} cannot be read ({error.strerror}): check the disk, then start again"
            ) from error
        return rows

    def check(self) -> None:
        self.opened.check()

    def _fill(self, file: io.FileIO, into: np.ndarray, offset: int) -> None:
        view = into.data
        file.seek(offset)
        while len(view):
            got = file.readinto(view)
            if not got:  # it became shorter since
                raise LogvarError(f"{self.name} changed while it was read: it ends at {offset:,}")
            view, offset = view[got:], offset + got


def runs(where: Where) -> list[tuple[int, int, int]]:
    """Return (first row, place in the result, number of rows) of each run of consecutive rows."""
    if isinstance(where, slice):
        return [(where.start, 0, where.stop - where.start)]
    if not len(where):
        return []
    breaks = np.flatnonzero(np.diff(where) != 1) + 1
    at = np.concatenate([[0], breaks])
    ends = np.append(breaks, len(where))
    return list(zip(where[at].tolist(), at.tolist(), (ends - at).tolist(), strict=True))


def open_npy(path: str | Path) -> NpyFile:
    """Open a .npy file of numbers without reading its rows.

    Raises:
        LogvarError: it is no .npy file, is cut off, holds objects, or its columns lie together
            (Fortran order) instead of its rows.
    """
    path = Path(path)
    opened = Opened.of(path)
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError(f"version {version} of the format")
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except (ValueError, OSError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LogvarError(
            f"{path} cannot be read as its ending says ({reason}): expected a whole .npy file of "
            "numbers"
        ) from error
    if dtype.hasobject:
        raise LogvarError(f"{path} holds Python objects: expected numbers; save them as numbers")
    if fortran and len(shape) > 1:
        raise LogvarError(
            f"{path} keeps its columns together (Fortran order), so its rows cannot be read alone: "
            "save numpy.ascontiguousarray(X)"
        )
    needed = offset + math.prod(shape) * dtype.itemsize
    if opened.size < needed:
        bytes_per_row = max(1, math.prod(shape[1:]) * dtype.itemsize)
        whole = max(0, opened.size - offset) // bytes_per_row
        raise LogvarError(
            f"{path} is cut off in row {whole:,}: expected {shape[0]:,} rows in {needed:,} bytes, "
            f"and it has {opened.size:,}; copy it again"
        )
    return NpyFile(opened, offset, shape, dtype)
