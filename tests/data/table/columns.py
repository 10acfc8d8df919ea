"""Columns of every kind that a schema has, and rows of a table with all of them."""

import numpy as np

from logvar.data.table.schema import Column

COLUMNS = (
    Column("letter", "categorical", levels=("a", "b", "c")),
    Column("tail", "real"),
    Column("same", "constant"),
    Column("zeros", "positive", low=0.0),
    Column("count", "count", step=1.0, low=0.0),
    Column("share", "real", step=0.01, low=0.0, high=1.0),
    Column("yes", "binary", levels=(0, 1)),
    Column("visits", "count", step=1.0, low=0.0),
    Column("grade", "ordinal", levels=("low", "middle", "high")),
)


def table(rows=400, missing=0.1, seed=0):
    """Cells of `COLUMNS`, some of them missing."""
    rng = np.random.default_rng(seed)
    cells = np.stack(
        [
            rng.choice(3, rows, p=[0.7, 0.28, 0.02]),
            rng.standard_cauchy(rows),
            np.zeros(rows),
            np.where(rng.random(rows) < 0.3, 0, rng.lognormal(size=rows)),
            rng.poisson(4, rows),
            np.round(rng.beta(2, 5, rows), 2),
            rng.random(rows) < 0.1,
            np.where(rng.random(rows) < 0.5, 7, rng.poisson(9, rows)),
            rng.integers(0, 3, rows),
        ],
        axis=1,
    ).astype(float)
    cells[rng.random(cells.shape) < missing] = np.nan
    return cells
