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
    explained = []
    for i, row in enumerate(surprise):
        order = np.argsort(-row)[: min(top, int(np.isfinite(row).sum()))]
        explained.append(
            [
                OddCell(
                    columns[j],
                    fitted.value_of(given, i, int(j)),
                    float(scores[i, j]),
                    float(row[j]),
                )
                for j in order
            ]
        )
    return explained
