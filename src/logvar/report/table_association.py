"""How strongly two columns go together: one measure for numbers and categories alike.

Each column is encoded: numbers, dates, ordinal and binary columns by their ranks, which have an
order, and categories by an indicator of each level. The measure is the root mean square of the
canonical correlations ρ between two encodings, √(Σρ²/min(p, q)). So it is

- Spearman's ρ between two columns with an order, with its sign;
- the correlation ratio η of ranks between a category and a column with an order;
- Cramér's V between two categories.

η and V grow with the number of levels where nothing is associated, so both are corrected for it:
ε² = 1 − (1 − η²)(n − 1)/(n − k) (Kelley 1935), and V as by Bergsma (2013,
doi:10.1016/j.jkss.2012.10.002). Only rows in which both cells are observed count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from logvar.data.table.schema import NUMBERS, WITH_LEVELS, Column

MOST_LEVELS = 50
"""Rarer levels of a category than these count as one."""
FEWEST = 10
"""With fewer rows in which both cells are observed, no association is given."""


class Pair(NamedTuple):
    """Two columns, by number, and how they go together in data and samples."""

    first: int
    second: int
    data: float
    samples: float

    @property
    def difference(self) -> float:
        """Return samples − data."""
        return self.samples - self.data


def has_order(column: Column) -> bool:
    """Return whether a column is encoded by ranks."""
    return column.kind in NUMBERS or column.kind == "ordinal" or len(column.levels) == 2


def associations(
    cells: Float[np.ndarray, "rows columns"], columns: Sequence[Column]
) -> Float[np.ndarray, "columns columns"]:
    """Return the association of every two columns.

    It is in [−1, 1] if both have an order, else in [0, 1].
    NaN where it does not exist: a column that does not vary, or fewer than `FEWEST` rows.

    Args:
        cells: as the schema's modelled columns have them; NaN is a missing cell.
        columns: the columns.

    Example:
        >>> age, sex = Column("age", "real"), Column("sex", "binary", levels=("F", "M"))
        >>> x = np.arange(12.0)
        >>> associations(np.stack([x, x**3, x > 5], axis=1), [age, age, sex]).round(2)
        array([[1.  , 1.  , 0.87],
               [1.  , 1.  , 0.87],
               [0.87, 0.87, 1.  ]])
    """
    found = np.full((len(columns), len(columns)), np.nan)
    ordered = [j for j, column in enumerate(columns) if has_order(column)]
    nominal = [j for j, c in enumerate(columns) if c.kind in WITH_LEVELS and j not in set(ordered)]
    observed = ~np.isnan(cells[:, ordered])
    ranks = np.stack([centred_ranks(cells[:, j]) for j in ordered], axis=1) if ordered else None
    indicators = [indicators_of(cells[:, j]) for j in nominal]
    with np.errstate(invalid="ignore", divide="ignore"):
        if ranks is not None:
            found[np.ix_(ordered, ordered)] = _correlations(ranks, observed)
            for j, levels in zip(nominal, indicators, strict=True):
                found[j, ordered] = found[ordered, j] = _ratios(levels, ranks, observed)
        for a, i in enumerate(nominal):
            for b, j in enumerate(nominal[: a + 1]):
                found[i, j] = found[j, i] = _cramer(indicators[a].T @ indicators[b])
    return found


def largest_differences(
    data: Float[np.ndarray, "columns columns"],
    samples: Float[np.ndarray, "columns columns"],
    at_most: int,
) -> list[Pair]:
    """Return the pairs whose associations differ most, the largest difference first."""
    first, second = np.tril_indices(len(data), -1)
    gap = np.abs(samples - data)[first, second]
    order = np.argsort(-np.where(np.isnan(gap), -1, gap), kind="stable")[:at_most]
    return [
        Pair(int(i), int(j), float(data[i, j]), float(samples[i, j]))
        for i, j in zip(first[order], second[order], strict=True)
        if np.isfinite(samples[i, j] - data[i, j])
    ]


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks among the observed cells, scaled to [−½, ½] about their mean; 0 if missing."""
    there = ~np.isnan(values)
    ranks = np.zeros(len(values))
    if there.any():
        ranks[there] = (rankdata(values[there]) - 0.5) / there.sum() - 0.5
    return ranks


def indicators_of(codes: np.ndarray) -> np.ndarray:
    """One column for each level that occurs, the rarest of many levels as one."""
    levels, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    commonest = levels[np.argsort(-counts, kind="stable")]
    kept, rest = commonest[: MOST_LEVELS - 1], commonest[MOST_LEVELS - 1 :]
    found = (codes[:, None] == kept).astype(float)
    return np.column_stack([found, np.isin(codes, rest)]) if len(rest) else found


def _correlations(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Pearson's correlations over the rows in which both cells are observed."""
    there = observed.astype(float)
    n = there.T @ there
    mean = x.T @ there / n
    variance = (x**2).T @ there / n - mean**2
    covariance = x.T @ x / n - mean * mean.T
    variance = np.where(variance > 1e-12, variance, np.nan)
    r = covariance / np.sqrt(variance * variance.T)
    return np.where(n >= FEWEST, np.clip(r, -1, 1), np.nan)


def _ratios(levels: np.ndarray, x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """√ε² of one category and every column with an order."""
    counts = levels.T @ observed
    sums = levels.T @ x
    n, k = counts.sum(0), (counts > 0).sum(0)
    offset = sums.sum(0) ** 2 / n
    between = np.where(counts > 0, sums**2 / np.where(counts > 0, counts, 1), 0).sum(0) - offset
    total = (levels.T @ x**2).sum(0) - offset
    total = np.where(total > 1e-12, total, np.nan)
    epsilon2 = 1 - (1 - between / total) * (n - 1) / (n - k)
    usable = (n >= FEWEST) & (k > 1) & (n > k)
    return np.where(usable, np.sqrt(np.clip(epsilon2, 0, 1)), np.nan)


def _cramer(counts: np.ndarray) -> float:
    """Cramér's V of a contingency table, corrected for its size."""
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    n, (r, k) = counts.sum(), counts.shape
    if n < FEWEST or min(r, k) < 2:
        return np.nan
    expected = np.outer(counts.sum(1), counts.sum(0)) / n
    phi2 = np.sum((counts - expected) ** 2 / expected) / n
    phi2 = max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi2 / smaller))) if smaller > 0 else np.nan
