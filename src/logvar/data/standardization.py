"""Standardizing real values in float64, before anything is rounded to float32.

Models compute in float32, which has seven digits. Of 1e8 ± 1, or of a time in milliseconds, it
keeps no variation, and 1e-300 is 0. So features are standardized on the host in float64, and the
model sees numbers of the order of 1. Its outputs are converted back the same way.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from logvar.backend.streamed import StreamedRows, blocks
from logvar.data.facts import facts_of
from logvar.data.order import aligned

FARTHEST = 1e60
"""In standard deviations. Values beyond score as if they were here: the square of the distance is
squared again for standard errors, and float64 ends at 1e308."""
ARRAYS = ("shift", "factor", "low", "high")
"""The arrays of a standardization that are saved, in float64."""
_RESOLUTION = 1e-13
"""A spread below this share of the mean is rounding noise of float64."""
_FLOAT32_RESOLVES = 2.0**14
"""A float32 within this many spreads of 0 keeps three digits of a standardized value."""
_LARGEST = 1e30
"""float32 holds numbers up to this with room to spare."""

_NUMBERS_IN_CACHE = 2**15

Feature = Float[np.ndarray, "*shape"]


@dataclasses.dataclass(frozen=True, eq=False)
class Standardization:
    """x ↦ (x − shift)/factor for each feature, in float64.

    Args:
        shift: the mean of the training rows.
        factor: their standard deviation, but at least 1 if a feature is constant.
        low: the smallest standardized value that the encoder gets.
        high: the largest.
        dtype: the dtype of values in the data's own units: float32 if it resolves them, otherwise
            float64.
        note: a sentence for the user about features that do not vary; empty if all do.
    """

    shift: Feature
    factor: Feature
    low: Feature
    high: Feature
    dtype: type[np.floating] = np.float32
    note: str = ""

    @classmethod
    def of_rows(cls, rows: np.ndarray | StreamedRows, *, noise: float = 0.0) -> "Standardization":
        """Compute mean and standard deviation of training rows, and the range for the encoder.

        Missing cells, which are NaN, are left out.

        The encoder has seen the values from the smallest to the largest. It is trusted as far again
        on both sides, so that ordinary new rows are encoded unchanged.

        Args:
            rows: (rows, *shape), of any real dtype; the same values give the same numbers.
            noise: the largest noise that is added to a value later, in the data's units.
        """
        if isinstance(rows, StreamedRows):
            found = facts_of(rows)
            largest = np.maximum(np.abs(found.low), np.abs(found.high))
        else:
            largest = np.max([_largest(np.abs(block)) for block in _in_float64(rows)], axis=0)
        # Squares of very large or small values would leave float64; a power of two is exact.
        extreme = (largest > 1e100) | ((largest < 1e-100) & (largest > 0))
        exponent = np.where(extreme, np.frexp(largest)[1], 0)

        def scaled(block: np.ndarray) -> np.ndarray:
            return np.ldexp(block, -exponent) if extreme.any() else block

        n, first = _counts(rows), scaled(_first(rows))
        # Relative to the first value: the mean of a constant column is then exact.
        away = None if extreme.any() else _away(rows)
        if away is None:
            away = sum(np.nansum(scaled(block) - first, 0) for block in _in_float64(rows))
        away = away / n
        mean = first + away
        squares, rest = np.zeros_like(mean), np.zeros_like(mean)
        low, high = np.full_like(mean, np.inf), np.full_like(mean, -np.inf)
        for block in map(scaled, _in_float64(rows)):
            deviation = block - mean
            squares += np.nansum(np.square(deviation), 0)
            rest += np.nansum(deviation, 0)
            low, high = np.fmin(low, _smallest(block)), np.fmax(high, _largest(block))
        spread = np.sqrt(np.maximum(squares / n - np.square(rest / n), 0.0))
        constant = (spread <= _RESOLUTION * np.abs(mean)) | (low == high)
        # At least the smallest number of float64: the spread of two such numbers rounds to 0.
        factor = np.maximum(np.ldexp(spread, exponent), np.finfo(np.float64).smallest_subnormal)
        # Rounding noise of a large constant, such as 1e285 at 1e300, must not leave float32.
        factor = np.where(constant, np.maximum(factor, 1.0), factor)
        shift = np.ldexp(mean, exponent)
        ends = cls(shift, factor, low, high)
        low, high = (ends.standardized(np.ldexp(end, exponent)) for end in (low, high))
        low, high = low - noise / factor, high + noise / factor
        resolved = (np.abs(shift) / _FLOAT32_RESOLVES <= factor) & (np.abs(shift) < _LARGEST)
        resolved &= (factor > 1 / _LARGEST) & (factor < _LARGEST)
        # The 256 levels of pixels are float32 numbers, and so is a constant that is close enough.
        in_float32 = rows.dtype == np.uint8 or (resolved | (constant & (np.abs(shift) < _LARGEST)))
        return cls(
            shift,
            factor,
            low - (high - low),
            high + (high - low),
            np.float32 if np.all(in_float32) else np.float64,
            _constants(constant, shift, np.ldexp(spread, exponent)),
        )

    @classmethod
    def of_float32(
        cls, shift: np.ndarray, factor: np.ndarray, training_rows: int
    ) -> "Standardization":
        """Return the standardization of a run of logvar 0.1, which kept float32 and no range.

        None of n rows is further than √n standard deviations from their mean.
        """
        reach = max(10.0, float(np.sqrt(training_rows)))
        wide = np.asarray(shift, np.float64)
        return cls(
            wide,
            np.asarray(factor, np.float64),
            np.full_like(wide, -reach),
            np.full_like(wide, reach),
        )

    def covering(self, rows: np.ndarray | StreamedRows) -> "Standardization":
        """Return this standardization with a range that also covers further training rows.

        It is trusted as far again on both sides of them, as in `of_rows`.
        """
        low, high = np.full_like(self.low, np.inf), np.full_like(self.high, -np.inf)
        for block in _in_float64(rows):
            moved = self.standardized(block)
            low, high = np.fmin(low, _smallest(moved)), np.fmax(high, _largest(moved))
        width = high - low
        return dataclasses.replace(
            self, low=np.fmin(self.low, low - width), high=np.fmax(self.high, high + width)
        )

    @property
    def log_factor(self) -> Feature:
        """log |dx/dx′|: the log-density of the standardized x′ minus that of x."""
        return np.log(self.factor)

    def standardized(self, values: np.ndarray) -> Float[np.ndarray, "..."]:
        """Return values in float64, clipped to ±`FARTHEST`; NaN stays NaN."""
        wide = np.asarray(values, np.float64)
        with np.errstate(over="ignore"):
            moved = (wide - self.shift) / self.factor
            if np.isinf(moved).any():  # the difference of two numbers near 1e308
                halved = (wide / 2 - self.shift / 2) / self.factor * 2
                moved = np.where(np.isinf(moved), halved, moved)
        return np.clip(moved, -FARTHEST, FARTHEST)

    def to_model(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (the encoder's input, indices of the rows outside its range, those rows).

        Rows beyond `low` or `high` are clipped to the nearest point inside. They are also returned
        unclipped in float64, with their indices.
        """
        seen = aligned(rows.shape, np.float32)
        outside, actual = [], []
        start = 0
        for block in _in_float64(rows):
            moved = self.standardized(block)
            inside = np.clip(moved, self.low, self.high)
            seen[start : start + len(block)] = inside
            clipped = (inside != moved) & (moved == moved)  # a missing cell is not outside
            found = np.flatnonzero(clipped.reshape(len(block), -1).any(1))
            outside.append(found + start)
            actual.append(moved[found])
            start += len(block)
        return seen, np.concatenate(outside), np.concatenate(actual)

    def seen(self, rows: np.ndarray) -> Float[np.ndarray, "..."]:
        """Return the encoder's input alone, with the bytes that `to_model` gives it: for training
        rows, which are converted again whenever they are read."""
        flat, width = rows.reshape(len(rows), -1), max(1, self.shift.size)
        shift, factor, low, high = (
            getattr(self, name).reshape(-1) for name in ("shift", "factor", "low", "high")
        )
        # Differences and quotients of float32 and of these stay within float64.
        tame = np.abs(shift).max() < 1e150 and factor.min() > 1e-150
        if rows.dtype == np.float64 or not tame:
            return self.to_model(rows)[0]
        found = aligned(flat.shape, np.float32)
        size = max(1, _NUMBERS_IN_CACHE // width)
        wide = np.empty((size, width))
        for start in range(0, len(flat), size):
            block = flat[start : start + size]
            moved = wide[: len(block)]
            np.subtract(block, shift, out=moved)
            np.divide(moved, factor, out=moved)
            np.clip(moved, low, high, out=moved)
            found[start : start + size] = moved
        return found.reshape(rows.shape)

    def to_user(self, values: np.ndarray) -> np.ndarray:
        """Return standardized values in the data's own units, rounded once, to `dtype`."""
        given = np.empty(values.shape, self.dtype)
        largest = np.finfo(self.dtype).max
        start = 0
        for block in _in_float64(values):
            with np.errstate(over="ignore"):
                moved = self.shift + self.factor * block
            given[start : start + len(block)] = np.clip(moved, -largest, largest)
            start += len(block)
        return given


def _constants(which: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> str:
    """Name the features that do not vary as far as float64 can tell; empty if all vary."""
    found = np.flatnonzero(which.reshape(-1))
    if not len(found):
        return ""
    texts = [
        f"column {j} (mean {mean.reshape(-1)[j]:.6g}, spread {spread.reshape(-1)[j]:.2g})"
        for j in map(int, found[:5])
    ]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"constant as far as float64 can tell: {', '.join(texts)}{more}"


def _largest(block: np.ndarray) -> np.ndarray:
    return np.fmax.reduce(block, axis=0, initial=-np.inf)


def _smallest(block: np.ndarray) -> np.ndarray:
    return np.fmin.reduce(block, axis=0, initial=np.inf)


def _counts(rows: np.ndarray | StreamedRows) -> np.ndarray | int:
    """Return the number of observed cells of each feature."""
    if isinstance(rows, StreamedRows):
        found = facts_of(rows)
        return found.observed if found.missing else len(rows)
    if rows.dtype.kind != "f":
        return len(rows)
    missing = sum(np.isnan(block).sum(0) for block in _in_float64(rows))
    return len(rows) - missing if np.any(missing) else len(rows)


def _away(rows: np.ndarray | StreamedRows) -> np.ndarray | None:
    """Return the sum of the differences from the first row, if a pass over files has found it."""
    return facts_of(rows).away if isinstance(rows, StreamedRows) else None


def _first(rows: np.ndarray | StreamedRows) -> np.ndarray:
    """Return the first observed value of each feature."""
    if isinstance(rows, StreamedRows):
        return facts_of(rows).first
    first = np.asarray(rows[0], np.float64)
    if np.isnan(first).any():
        position = np.argmax(~np.isnan(rows), axis=0)[None]
        first = np.take_along_axis(rows, position, axis=0)[0].astype(np.float64)
    return first


def _in_float64(rows: np.ndarray | StreamedRows) -> Iterator[np.ndarray]:
    """Yield blocks of rows in float64, so that a large array is never held in float64 whole."""
    for _, block in blocks(rows):
        yield np.asarray(block, np.float64)
