"""Read and write arrays: .npy and .npz; written, also as the tables of `data.table.writing`."""

import io
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logvar.data.table.frame import Table
from logvar.errors import LogvarError
from logvar.storage.files import UnfinishedFile

# The exceptions of NumPy and zipfile on malformed bytes, found by tests.crash.fuzz_files.
_BROKEN = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,  # includes NotImplementedError, for a compression or encryption zipfile lacks
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npy(path: Path) -> np.ndarray:
    """Read one array; files with pickled objects are refused."""
    try:
        with warnings.catch_warnings():
            # Nobody needs to be warned that a file was written by Python 2.
            warnings.simplefilter("ignore", UserWarning)
            return np.load(path, allow_pickle=False)
    except _BROKEN as error:
        raise _unreadable(path, "a whole .npy file of numbers", error) from error


def read_npz(path: Path) -> np.ndarray:
    """Read the array named X, x or data, or the only array there is."""
    if not zipfile.is_zipfile(path):
        raise LogvarError(
            f"{path} is not a whole .npz archive: expected what numpy.savez writes; copy it again, "
            "or rename a single array to .npy"
        )
    try:
        # NumPy does not close a file that it opened itself and cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            names = archive.files
            name = next((n for n in ("X", "x", "data") if n in names), None)
            if name is None and len(names) != 1:
                raise LogvarError(
                    f"{path} holds {len(names)} arrays ({', '.join(names[:5])}): expected one, or "
                    "one called X"
                )
            return archive[name or names[0]]
    except LogvarError:
        raise
    except _BROKEN as error:
        raise _unreadable(path, "a whole .npz archive of numbers", error) from error


def write(
    path: Path,
    array: np.ndarray,
    names: Sequence[str] | None = None,
    files: Sequence[str] = (),
) -> None:
    """Write an array in the format of the path's ending: .npy keeps its shape, others are tables.

    Args:
        path: the output file.
        array: (rows,) or (rows, …); tables flatten everything after the first axis.
        names: the columns of the table.
        files: for each row the file it came from, which becomes the first column of a table.
    """
    if path.suffix.lower() == ".npy":
        with ArrayWriter(path, len(array)) as writer:
            writer.append(array)
        return
    from logvar.data.table.writing import write_table

    write_table(as_columns(array, names, files), path)


def as_columns(
    array: np.ndarray, names: Sequence[str] | None = None, files: Sequence[str] = ()
) -> Table:
    """Return an array as a table, flat after its first axis; see `write`."""
    import pyarrow as pa

    flat = array.reshape(len(array), -1)
    columns = {"file": pa.array(list(files))} if files else {}
    for i, name in enumerate(names or [f"x{i}" for i in range(flat.shape[1])]):
        columns[name] = pa.array(np.ascontiguousarray(flat[:, i]), from_pandas=True)
    chunked = tuple(pa.chunked_array([column]) for column in columns.values())
    return Table(tuple(columns), chunked, "arrow")


class ArrayWriter:
    """A .npy file that is written in blocks of rows; complete once all of them are there.

    Args:
        path: the output.
        rows: how many there will be, for they stand in the file's header.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> with ArrayWriter(path, 3) as writer:
        ...     writer.append(np.zeros((2, 4)))
        ...     writer.append(np.ones((1, 4)))
        >>> np.load(path)[:, 0].tolist()
        [0.0, 0.0, 1.0]
    """

    def __init__(self, path: Path, rows: int):
        self._file = UnfinishedFile(path)
        self._rows, self._written = rows, 0
        self._first: np.ndarray | None = None

    def append(self, block: np.ndarray) -> None:
        """Write the next rows: all blocks have one dtype, and one shape but for their length."""
        if self._first is None:
            self._first = block[:0]
            header = io.BytesIO()
            shape = (self._rows, *block.shape[1:])
            described = np.lib.format.dtype_to_descr(block.dtype)
            fields = {"descr": described, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, fields)
            self._file.write(header.getvalue())
        if (block.dtype, block.shape[1:]) != (self._first.dtype, self._first.shape[1:]):
            raise ValueError(
                f"a block is {block.dtype} of shape {block.shape}: expected {self._first.dtype} "
                f"and {self._first.shape[1:]} for each row"
            )
        self._written += len(block)
        self._file.write(np.ascontiguousarray(block).data)

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        whole = self._written == self._rows
        self._file.__exit__(kind if whole or kind else ValueError)
        if not (whole or kind):
            raise ValueError(f"{self._written:,} of {self._rows:,} rows were written")


def _unreadable(path: Path, expected: str, error: Exception) -> LogvarError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return LogvarError(f"{path} cannot be read as its ending says ({reason}): expected {expected}")
