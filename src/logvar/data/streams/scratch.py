"""Rows in a temporary file: cells of a table, which are decoded once and then read in any order."""

import tempfile
import threading
import weakref

import numpy as np

from logvar.backend.streamed import StreamedRows, Where
from logvar.data.streams.npy import runs
from logvar.errors import LogvarError
from logvar.storage.files import temporary_file


class Scratch:
    """Rows that are written one after the other and then read.

    The file has no name, so the system removes it when the process ends, however it ends. It is in
    the folder that the variable TMPDIR names, else in the system's own.

    Args:
        name: what messages call the rows.
        shape: (rows, *shape of one example).
        dtype: of the rows.

    Raises:
        LogvarError: there is no room for temporary files.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype):
        self.name, self.shape, self.dtype = name, shape, dtype
        self._file = temporary_file(f"the cells of {name}")
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._written = 0

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows.

        Raises:
            LogvarError: the disk is full.
        """
        view = np.ascontiguousarray(rows, self.dtype).data.cast("B")
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            raise LogvarError(
                f"the cells of {self.name} do not fit in the folder of temporary files "
                f"{tempfile.gettempdir()} ({error.strerror}): set TMPDIR to a folder with "
                f"{self._bytes_per_row * self.shape[0]:,} bytes free"
            ) from error
        self._written += len(rows)

    def rows(self) -> StreamedRows:
        """Return the rows, when all are written."""
        if self._written != self.shape[0]:
            raise LogvarError(
                f"{self.name} gave {self._written:,} rows, and had {self.shape[0]:,} before: "
                "expected data that stay as they are; start again"
            )
        return StreamedRows(self)

    def read(self, where: Where) -> np.ndarray:
        count = where.stop - where.start if isinstance(where, slice) else len(where)
        found = np.empty((count, *self.shape[1:]), self.dtype)
        size = self._bytes_per_row
        flat = found.reshape(-1).view(np.uint8).data
        with self._lock:
            for first, at, length in runs(where) if found.size else ():
                self._file.seek(first * size)
                view = flat[at * size : (at + length) * size]
                while len(view):
                    got = self._file.readinto(view)
                    if not got:
                        raise LogvarError(f"the temporary file of {self.name} was cut off")
                    view = view[got:]
        return found

    def check(self) -> None:
        """The file is this process's own."""

    @property
    def _bytes_per_row(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
