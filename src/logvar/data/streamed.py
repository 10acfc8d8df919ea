"""Data larger than memory → `StreamedRows`: which objects are such data, and how to open them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logvar.backend.streamed import Reader, StreamedRows, Where, row_at
from logvar.data.annotated import is_annotated
from logvar.data.sparse import is_sparse
from logvar.data.streams.indexed import open_indexed
from logvar.data.streams.npy import open_npy
from logvar.data.streams.shards import Shards
from logvar.errors import LogvarError

_NARROW = (np.dtype(np.float16), np.dtype(np.float32))
_IN_MEMORY = (
    "__array_interface__",
    "__array__",
    "__dlpack__",
    "__arrow_c_stream__",
    "__dataframe__",
)
_LAZY_MODULES = ("h5py", "zarr")


def is_streamed(X: Any) -> bool:
    """Return whether X is data that are read when they are needed.

    These are `StreamedRows`, memory maps, datasets of h5py and zarr, any other object with a length
    and indexing by an array of rows that is no array and no frame, the path of a .npy file or of a
    zarr array, and lists of such.

    Example:
        >>> is_streamed(np.zeros((3, 2))), is_streamed(["a.npy", "b.npy"])
        (False, True)
    """
    if isinstance(X, StreamedRows | np.memmap):
        return True
    if isinstance(X, str | os.PathLike):
        return str(X).rstrip("/").lower().endswith((".npy", ".zarr"))
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(is_streamed(part) for part in X)
    if isinstance(X, np.ndarray | Mapping | bytes | set | range):
        return False
    if is_sparse(X) or is_annotated(X):
        return False
    if type(X).__module__.split(".")[0] in _LAZY_MODULES:
        return hasattr(X, "shape")
    if not (hasattr(type(X), "__len__") and hasattr(type(X), "__getitem__")):
        return False
    return not any(hasattr(X, name) for name in _IN_MEMORY) and not hasattr(X, "columns")


def streamed_rows(X: Any, name: str = "X") -> StreamedRows:
    """Open data as rows of uint8, float32 or float64, as `as_rows` returns those of an array.

    Args:
        X: what `is_streamed` accepts, or an array.
        name: what messages call X, if it has no name of its own.

    Raises:
        LogvarError: it cannot be opened, is cut off, has no rows or no features, is not of numbers,
            or a file of a list is different from the first.
    """
    if isinstance(X, StreamedRows):
        return X
    rows = StreamedRows(_reader(X, name))
    if rows.ndim < 2 or 0 in rows.shape:
        raise LogvarError(
            f"{rows.name} has shape {rows.shape}: expected (rows, features…) with at least one of "
            "each"
        )
    if rows.dtype.kind not in "fiub":
        raise LogvarError(
            f"{rows.name} has dtype {rows.dtype}: expected numbers; drop or encode text columns"
        )
    return rows.converted(_Numbers(rows.reader), _dtype_of(rows.dtype))


def _reader(X: Any, name: str) -> Reader:
    if isinstance(X, StreamedRows):
        return X.reader
    if isinstance(X, str | os.PathLike):
        path = Path(X)
        return _of_zarr(path) if path.suffix.lower() == ".zarr" else open_npy(path)
    if isinstance(X, list | tuple):
        return _joined(X, name)
    if isinstance(X, np.memmap) and isinstance(X.filename, str | os.PathLike):
        name = str(X.filename)
    return open_indexed(X, name)


def _of_zarr(path: Path) -> Reader:
    """Open a zarr array.

    Raises:
        LogvarError: zarr is not installed, or this is no array of it.
    """
    try:
        import zarr
    except ImportError as error:
        raise LogvarError(
            f"{path} needs zarr, which is not installed: pip install 'logvar[zarr]'"
        ) from error
    try:
        found = zarr.open(str(path), mode="r")
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LogvarError(f"{path} cannot be read ({reason}): expected a zarr array") from error
    if not hasattr(found, "shape"):
        raise LogvarError(f"{path} is a zarr group: give the path of an array in it")
    return open_indexed(found, str(path))


def _joined(parts: Sequence[Any], name: str) -> Reader:
    readers = [_reader(part, f"{name}[{i}]") for i, part in enumerate(parts)]
    return readers[0] if len(readers) == 1 else Shards.of(readers)


def _dtype_of(dtype: np.dtype) -> np.dtype:
    """Return the dtype that `as_rows` gives numbers of a dtype."""
    if dtype in (np.dtype(np.uint8), np.dtype(np.bool_)):
        return np.dtype(np.uint8)
    return np.dtype(np.float32 if dtype in _NARROW else np.float64)


class _Numbers:
    """Converts blocks to the dtype of all, and refuses infinity."""

    def __init__(self, reader: Reader):
        self.reader, self.target = reader, _dtype_of(reader.dtype)

    def __call__(self, block: np.ndarray, where: Where) -> np.ndarray:
        rows = block.astype(self.target, copy=False)
        if self.reader.dtype.kind == "f":
            bad = np.isinf(rows)
            if bad.any():
                at = np.argwhere(bad)[0]
                column = int(at[1]) if len(at) == 2 else tuple(int(i) for i in at[1:])
                row = row_at(where, int(at[0]))
                name, of_all = self.reader.name, ""
                if isinstance(self.reader, Shards):
                    of_all = f"row {row:,} of all, "
                    name, row = self.reader.place_of(row)
                raise LogvarError(
                    f"{name} has infinity in column {column} of row {row:,} ({of_all}counting "
                    "from 0): expected finite numbers; remove or impute such rows"
                )
        return rows
