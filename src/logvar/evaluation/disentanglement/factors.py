"""Known factors of variation, as numbers and as levels."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from logvar.errors import LogvarError

BINS = 20
"""Bins of a latent, and of a real-valued factor with more values than that."""


@dataclasses.dataclass(frozen=True)
class Factor:
    """One factor: its values, if they are real numbers, and its levels."""

    name: str
    numbers: Float[np.ndarray, "rows"] | None
    """Real numbers are predicted as numbers, everything else as classes."""
    levels: Int[np.ndarray, "rows"]
    """0, 1, …; real numbers of more than 20 values in 20 bins."""


def read_factors(factors: Any, rows: int) -> list[Factor]:
    """Return the factors of a table: a dict or frame of columns, or an array (rows, factors).

    Raises:
        LogvarError: the table has another number of rows, cells that are missing, or fewer than two
            factors that vary.
    """
    found = [_factor(str(name), np.asarray(column)) for name, column in _columns(factors)]
    for factor in found:
        if len(factor.levels) != rows:
            raise LogvarError(
                f"factor {factor.name!r} has {len(factor.levels):,} rows and the codes {rows:,}: "
                "expected one row of factors for each row of codes"
            )
    varying = [factor for factor in found if factor.levels.max() > 0]
    if len(varying) < 2:
        raise LogvarError(
            f"{len(varying)} of {len(found)} factors vary: expected at least two, since scores "
            "compare factors with each other"
        )
    return varying


def _columns(factors: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(factors, dict):
        return list(factors.items())
    if hasattr(factors, "columns") and not isinstance(factors, np.ndarray):
        return [(name, factors[name]) for name in factors.columns]
    array = np.asarray(factors)
    if array.ndim != 2:
        raise LogvarError(
            f"factors have shape {array.shape}: expected (rows, factors), a dict or a table"
        )
    return list(enumerate(array.T))


def _factor(name: str, values: np.ndarray) -> Factor:
    if values.ndim != 1 or not len(values):
        raise LogvarError(f"factor {name!r} has shape {values.shape}: expected (rows,)")
    if values.dtype.kind == "O" and all(isinstance(value, (int, float)) for value in values):
        values = values.astype(np.float64)
    is_real = values.dtype.kind == "f"
    if is_real and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise LogvarError(f"factor {name!r} is {values[row]} in row {row}: expected numbers")
    if not is_real:
        values = values.astype(str) if values.dtype.kind == "O" else values
        return Factor(name, None, np.unique(values, return_inverse=True)[1])
    numbers = values.astype(np.float64)
    unique, levels = np.unique(numbers, return_inverse=True)
    return Factor(name, numbers, binned(numbers) if len(unique) > BINS else levels)


def binned(values: Float[np.ndarray, "rows"]) -> Int[np.ndarray, "rows"]:
    """Return the number of each value's bin, of 20 of equal width between the extremes."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(len(values), np.int64)
    return np.minimum(((values - low) / (high - low) * BINS).astype(np.int64), BINS - 1)
