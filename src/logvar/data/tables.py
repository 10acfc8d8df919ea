"""Read and write arrays and tables: .npy, .npz, .csv, .parquet."""

import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logvar.errors import LogvarError
from logvar.storage.files import write_atomically

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


def read_csv(path: Path) -> np.ndarray:
    """Read a table of numbers, with a header line or, if the first line is numeric, without one."""
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ReadOptions(autogenerate_column_names=_starts_with_numbers(path))
    try:
        table = csv.read_csv(path, read_options=options)
        _ = table.column_names  # decoding happens here
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise _unreadable(
            path, "a table with the same number of columns in each row", error
        ) from error
    return _numbers(path, table)


def read_parquet(path: Path) -> np.ndarray:
    """Read a table of numbers."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        _ = table.column_names  # decoding happens here
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "a whole parquet file", error) from error
    return _numbers(path, table)


def write(
    path: Path, array: np.ndarray, names: list[str] | None = None, files: Sequence[str] = ()
) -> None:
    """Write an array in the format of the path's ending: .npy keeps its shape, others are tables.

    Args:
        path: the output file.
        array: (rows,) or (rows, …); tables flatten everything after the first axis.
        names: the columns of the table.
        files: for each row the file it came from, which becomes the first column of a table.
    """
    import io

    buffer = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(buffer, array, allow_pickle=False)
    else:
        import pyarrow as pa
        from pyarrow import csv, parquet

        flat = array.reshape(len(array), -1)
        columns = names or [f"x{i}" for i in range(flat.shape[1])]
        first = {"file": list(files)} if files else {}
        table = pa.table(first | {name: flat[:, i] for i, name in enumerate(columns)})
        if path.suffix.lower() == ".csv":
            csv.write_csv(table, buffer)
        else:
            parquet.write_table(table, buffer)
    write_atomically(path, buffer.getvalue())


def _numbers(path: Path, table) -> np.ndarray:
    """Return the columns of an Arrow table as one array; errors name the column."""
    import pyarrow.types as kinds

    if table.num_rows == 0 or table.num_columns == 0:
        raise LogvarError(
            f"{path} has {table.num_rows} rows and {table.num_columns} columns: expected some"
        )
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)):
            example = next((v for v in column.to_pylist() if v is not None), "only empty cells")
            raise LogvarError(
                f"{path}: column {name!r} holds {kind}, such as {example!r}: expected numbers; "
                "drop or encode that column"
            )
        values = column.to_numpy(zero_copy_only=False) if not column.null_count else None
        if values is None:
            row = next(i for i, v in enumerate(column.to_pylist()) if v is None)
            raise LogvarError(
                f"{path} has an empty cell at row {row}, column {name!r} (rows counted from 0, "
                "after the header): expected finite numbers; remove or impute such rows"
            )
        columns.append(values)
    return np.column_stack(columns)


def _starts_with_numbers(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            first = file.readline(1 << 20)
        for cell in first.strip().split(","):
            float(cell)
    except (OSError, ValueError):
        return False
    return True


def _unreadable(path: Path, expected: str, error: Exception) -> LogvarError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return LogvarError(f"{path} cannot be read as its ending says ({reason}): expected {expected}")
