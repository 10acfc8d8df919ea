"""The oddest cells of rows: those far less probable, given the other cells, than is usual."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from logvar.assembly.tables import Intake
from logvar.fitted import Fitted


class OddCell(NamedTuple):
    """An observed cell and how probable it is given the row's other cells."""

    column: Any
    value: Any
    log_likelihood: float
    """log p(x_j | the other cells), nats."""
    surprise: float
    """How far that is below what is usual for the column, nats."""


def odd_cells(
    fitted: Fitted, given: Intake, scores: Float[np.ndarray, "rows columns"], top: int
) -> list[list[OddCell]]:
    """Return the oddest cells of each row, the oddest first.

    Args:
        fitted: the trained model.
        given: the rows.
        scores: log p(x_j | the row's other cells) of each cell, nats; NaN if it is missing.
        top: how many cells for each row.
    """
    columns, surprise = fitted.column_names, fitted.usual_cells - scores
    return [
        [
            OddCell(
                columns[j],
                fitted.value_of(given, i, j),
                float(scores[i, j]),
                float(surprise[i, j]),
            )
            for j in cells
        ]
        for i, cells in enumerate(oddest(surprise, top))
    ]


def oddest(surprise: Float[np.ndarray, "rows columns"], top: int) -> list[list[int]]:
    """Return the columns of the most surprising cells of each row, the oddest first.

    Args:
        surprise: of each cell, nats; NaN if it is missing.
        top: how many cells of a row, at most.

    Example:
        >>> oddest(np.array([[0.5, np.nan, 2.0, 1.0], [np.nan, np.nan, np.nan, 3.0]]), 2)
        [[2, 3], [3]]
    """
    order = np.argsort(-surprise, axis=1, kind="stable")[:, :top]  # NaN are last
    return [
        [int(j) for j in columns if not np.isnan(row[j])]
        for row, columns in zip(surprise, order, strict=True)
    ]
