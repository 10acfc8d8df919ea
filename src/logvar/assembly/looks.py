"""The look of columns of numbers: a bell, integers, pixels, or something else."""

import numpy as np

from logvar.backend.sparse import Rows, array_of
from logvar.backend.streamed import StreamedRows
from logvar.data.facts import Facts, facts_of
from logvar.data.preparation import has_missing

_PIXELS = 64
"""A two-dimensional array of uint8 with at least this many columns is read as pixels, if its values
reach beyond half of their range."""
_ENOUGH = 5000
_CELLS = 2**24
_BLOCK = 2**20
_EXACT = 2.0**53
"""From here on every float64 is an integer."""
_SKEWNESS, _KURTOSIS = 1.0, 3.0
"""A column whose skewness or excess kurtosis is beyond these does not look like a bell."""


def far_from_a_bell(rows: np.ndarray | StreamedRows) -> np.ndarray:
    """Return the columns whose histogram does not look like a bell: skewed, heavy-tailed, or with
    many equal values. Of many rows, every so many are looked at."""
    enough = max(1, min(_ENOUGH, _CELLS // rows.shape[1]))
    rows = rows[:: max(1, len(rows) // enough)]
    return np.array([j for j in range(rows.shape[1]) if _is_odd(rows[:, j])], int)


def _is_odd(values: np.ndarray) -> bool:
    values = values[~np.isnan(values)].astype(np.float64)
    if len(values) < 20:
        return False
    values = values / max(np.abs(values).max(), np.finfo(np.float64).tiny)  # squares stay finite
    spread = values.std()
    if spread == 0:
        return True
    z = (values - values.mean()) / spread
    odd = abs(np.mean(z**3)) > _SKEWNESS or np.mean(z**4) - 3 > _KURTOSIS
    repeated = np.unique(values, return_counts=True)[1].max() / len(values)
    return bool(odd or repeated > 0.2)


def is_mixed(rows: np.ndarray | StreamedRows) -> bool:
    """Return whether an array of numbers needs a likelihood for each column."""
    if isinstance(rows, StreamedRows):
        return _is_mixed_by(facts_of(rows), rows)
    if rows.dtype == np.uint8:
        return rows.max() > 1 and (rows.shape[1] < _PIXELS or rows.max() < 128)
    holes = has_missing(rows)
    with np.errstate(invalid="ignore"):
        whole = np.array([_is_whole(rows[:, j]) for j in range(rows.shape[1])])
    if whole.all() and are_bits(rows):
        return False  # bits, for the Bernoulli
    if rows.shape[1] >= _PIXELS and np.nanmin(rows) >= 0 and np.nanmax(rows) <= 1:
        return False  # intensities of flattened images, of which some pixels never vary
    return bool(whole.any() or (holes and len(far_from_a_bell(rows))))


def are_bits(rows: Rows) -> bool:
    """Return whether all cells that are not missing are 0 or 1."""
    if isinstance(rows, StreamedRows):
        return facts_of(rows).bits
    rows = array_of(rows)
    if rows.dtype == np.uint8:
        return bool(rows.max() <= 1)
    # In blocks, of which the first usually tells: comparing MNIST at once would take 0.4 GB.
    step = max(1, _BLOCK // rows[0].size)
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    return all(bool(((some == 0) | (some == 1) | np.isnan(some)).all()) for some in blocks)


def _is_whole(column: np.ndarray) -> bool:
    """Return whether a column holds integers alone, or one value."""
    values = column[~np.isnan(column)]
    if not len(values) or np.abs(values).max() >= _EXACT:
        return False
    return bool((values == np.round(values)).all() or np.ptp(values) == 0)


def _is_mixed_by(facts: Facts, rows: StreamedRows) -> bool:
    """Say the same of rows that are not in memory."""
    high, low = float(facts.high.max()), float(facts.low.min())
    if rows.dtype == np.uint8:
        return high > 1 and (rows.shape[1] < _PIXELS or high < 128)
    one_value = (facts.low == facts.high) & (np.abs(facts.low) < _EXACT)
    whole = facts.whole | one_value
    if whole.all() and facts.bits:
        return False
    if rows.shape[1] >= _PIXELS and low >= 0 and high <= 1:
        return False
    return bool(whole.any() or (facts.missing and len(far_from_a_bell(rows))))
