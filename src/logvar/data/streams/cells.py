"""The matrix of a backed AnnData object, whose rows stay in the .h5ad file."""

from typing import Any

import numpy as np

from logvar.backend.streamed import StreamedRows, Where
from logvar.data.sparse import is_sparse
from logvar.data.streamed import streamed_rows


class Backed:
    """Rows of a matrix in a file; sparse ones become dense as they are read.

    Args:
        matrix: dense or compressed sparse rows.
    """

    takes_slices = True

    def __init__(self, matrix: Any):
        self._matrix = matrix

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def __getitem__(self, where: Where) -> np.ndarray:
        found = self._matrix[where]
        return found.toarray() if is_sparse(found) else np.asarray(found)


def is_backed(adata: Any) -> bool:
    """Return whether the matrix X of an AnnData object stays in its file."""
    return bool(getattr(adata, "isbacked", False))


def backed_rows(adata: Any, genes: np.ndarray | None = None) -> StreamedRows:
    """Return the matrix X of a backed AnnData object as rows that are read when they are needed.

    Args:
        adata: the object.
        genes: the columns to take, in this order; all if they are not given.
    """
    rows = streamed_rows(Backed(adata.X), str(adata.filename))
    if genes is None:
        return rows
    return rows.converted(lambda some, where: some[:, genes], rows.dtype, (len(genes),))
