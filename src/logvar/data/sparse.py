"""Sparse matrices as rows: what SciPy has, checked, in one order, and never dense as a whole."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from logvar.backend.sparse import SparseRows
from logvar.data.preparation import as_rows
from logvar.errors import LogvarError


def is_sparse(X: Any) -> bool:
    """Return whether X is a sparse matrix."""
    if isinstance(X, np.ndarray):  # also anndata's view of one, which has a toarray
        return False
    return isinstance(X, SparseRows) or hasattr(X, "toarray")


def sparse_rows(X: Any, name: str = "X") -> SparseRows:
    """Return a sparse matrix or array of SciPy as rows; the matrix itself is left as it is.

    Raises:
        LogvarError: X is of another library, has not two axes, is empty, holds no real numbers, or
            has NaN or infinity.
    """
    import scipy.sparse

    if isinstance(X, SparseRows):
        return X
    if not scipy.sparse.issparse(X):
        raise LogvarError(
            f"{name} is a {type(X).__name__}: expected a sparse matrix of SciPy or an array; use "
            f"{name}.toarray()"
        )
    if X.ndim != 2 or 0 in X.shape:
        raise LogvarError(
            f"{name} is a sparse array of shape {X.shape}: expected (rows, features), at least one "
            "of each"
        )
    whole = scipy.sparse.csr_array(X, copy=True)
    whole.sum_duplicates()
    given = as_rows(whole.data[None], name, missing=True)[0] if whole.nnz else whole.data
    values = given if len(given) else given.astype(np.float32)
    rows = SparseRows(
        values, whole.indices.astype(np.int32), whole.indptr.astype(np.int64), X.shape[1]
    )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row, column = rows.place(int(bad[0]))
        raise LogvarError(
            f"{name} has {'NaN' if np.isnan(values[bad[0]]) else 'infinity'} at row {row}, column "
            f"{column} (counting from 0): a sparse matrix has no missing cells; remove such rows, "
            "or give a dense array, in which NaN is a missing cell"
        )
    return _without_zeros(rows)


def read_sparse(path: Path) -> SparseRows | None:
    """Read what `scipy.sparse.save_npz` writes; None if the file is another.

    Raises:
        LogvarError: it is such an archive, and broken.
    """
    import scipy.sparse

    if not {"format.npy", "shape.npy"} <= _members(path):
        return None
    try:
        return sparse_rows(scipy.sparse.load_npz(path), str(path))
    except LogvarError:
        raise
    except (
        ValueError, KeyError, OSError, IndexError, TypeError, AttributeError, OverflowError,
        MemoryError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise LogvarError(
            f"{path} is no whole sparse matrix ({error}): expected what scipy.sparse.save_npz "
            "writes; write it again"
        ) from error


def _members(path: Path) -> set[str]:
    """Return the names in an archive; none if it is broken, which NumPy's reader will say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError):
        return set()


def _without_zeros(rows: SparseRows) -> SparseRows:
    kept = rows.values != 0
    if kept.all():
        return rows
    starts = np.concatenate([[0], np.cumsum(kept)])[rows.starts]
    return SparseRows(rows.values[kept], rows.columns[kept], starts, rows.features)
