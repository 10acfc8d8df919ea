"""One column of numbers: its atoms, its rounding, and its map to normal scores."""

import dataclasses

import numpy as np
from jaxtyping import Float

from logvar.data.table.density import spline_of
from logvar.data.table.warp import FARTHEST, FRONTS, Front, Spline, Warp

OPEN = 1e9
"""The width, in normal scores, of an interval without an end."""
MOST_ATOMS = 16
_NARROW = 1e-7
_LEAST_WIDTH = 1e-30
_WIDEST = 1e308
_EXACT = 2.0**53
"""From here on float64 has no odd integers."""

Numbers = Float[np.ndarray, "rows"]


@dataclasses.dataclass(frozen=True, eq=False)
class NumberColumn:
    """A column whose values are atoms, each with its own probability, or the rest.

    The rest has normal scores T(x). A rounded value x stands for the interval x ± step/2; at the
    bounds of the column the interval is open.

    Args:
        warp: T.
        step: the resolution of the values; 0 if they are continuous.
        low: the smallest possible value, or −inf.
        high: the largest, or inf.
        atoms: values repeated far above chance, increasing.
        counts: (atoms + 1,) the training rows at each atom, and at none.
    """

    warp: Warp
    step: float
    low: float
    high: float
    atoms: Float[np.ndarray, "atoms"]
    counts: Float[np.ndarray, "parts"]

    @classmethod
    def of_values(
        cls, values: Numbers, step: float = 0.0, low: float | None = None, high: float | None = None
    ) -> "NumberColumn":
        """Fit to the observed values of a training column.

        Args:
            values: (rows,) finite numbers; there may be none.
            step: their resolution; 0 if they are continuous.
            low: the smallest value that the column can have; None if there is no bound.
            high: the largest.
        """
        bottom = -np.inf if low is None else float(low)
        top = np.inf if high is None else float(high)
        x = rounded(np.asarray(values, np.float64), step)
        x = np.clip(x, bottom, top)
        atoms = _atoms(x, step, bottom, top)
        rest = x[~np.isin(x, atoms)]
        front = _front(rest if len(rest) else x, step, bottom, top)
        ends = _ends(front, rest, step)
        counts = np.array([*(np.sum(x == atom) for atom in atoms), len(rest)], np.float64)
        return cls(Warp(front, spline_of(*ends)), step, bottom, top, atoms, counts)

    def which(self, x: Numbers) -> np.ndarray:
        """Return the index of each value's atom; the number of atoms if it is none."""
        if not len(self.atoms):
            return np.zeros(len(x), int)
        with np.errstate(over="ignore"):  # of numbers near float64's largest
            distance = np.abs(x[:, None] - self.atoms)
        nearest = np.argmin(distance, axis=1)
        # Values that were computed along different ways may differ in the last digits.
        spacing = self.step * 1e-6 if self.step else 1e-15 * self.warp.front.spread
        close = distance[np.arange(len(x)), nearest] <= np.maximum(spacing, 1e-14 * np.abs(x))
        return np.where(close, nearest, len(self.atoms))

    def encoded(self, x: Numbers) -> Float[np.ndarray, "rows six"]:
        """Return what the likelihood needs of each value.

        Columns: 0 for no atom, otherwise its number from 1; the normal score; one end of the
        rounding interval in normal scores; its signed width (±`OPEN` for open intervals); the
        log-density's constant (log T′(x) for continuous values, −log step for rounded ones); and x
        in model units. A value beyond a bound is scored as what it is, far out and no atom.
        """
        x = rounded(np.asarray(x, np.float64), self.step)
        score, atom = self.warp.score(x), (self.which(x) + 1) % (len(self.atoms) + 1)
        if self.step:
            end, width = self._intervals(x, score)
            constant = np.full(len(x), -np.log(self.step))
        else:
            end, width, constant = score, np.ones(len(x)), self.warp.log_slope(x)
        return np.stack([atom, score, end, width, constant, self.to_model(x)], axis=1)

    def _intervals(self, x: Numbers, score: Numbers) -> tuple[Numbers, Numbers]:
        low, high = x - 0.5 * self.step, x + 0.5 * self.step
        end = self.warp.score(low)
        width = self.warp.score(high) - end
        with np.errstate(over="ignore", under="ignore"):
            narrow = np.exp(np.minimum(self.warp.log_slope(x), 600)) * self.step
        width = np.maximum(np.where(width > _NARROW, width, narrow), _LEAST_WIDTH)
        first, last = x <= self.low, x >= self.high
        end = np.where(first, self.warp.score(high), end)
        return end, np.where(first, -OPEN, np.where(last, OPEN, width))

    def to_model(self, x: Numbers) -> Numbers:
        """(x − centre)/spread."""
        front = self.warp.front
        return np.clip((x - front.centre) / front.spread, -FARTHEST, FARTHEST)

    def to_user(self, values: Numbers) -> Numbers:
        """Return values in the data's units: an atom's exactly, others rounded and in bounds."""
        front = self.warp.front
        values = np.clip(np.asarray(values, np.float64), -FARTHEST, FARTHEST)
        given, largest = values.astype(np.float32), np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            x = np.clip(front.centre + front.spread * values, -largest, largest)
        x = np.clip(rounded(x, self.step), self.low, self.high)
        for atom, position in zip(self.atoms, self.to_model(self.atoms), strict=True):
            x = np.where(given == np.float32(position), atom, x)
        return x

    def parameters(self) -> Float[np.ndarray, "seven"]:
        """Return its numbers but for the arrays, for saving."""
        front = self.warp.front
        return np.array(
            [
                FRONTS.index(front.kind),
                front.centre,
                front.spread,
                front.margin,
                self.step,
                self.low,
                self.high,
            ]
        )

    @classmethod
    def from_parameters(
        cls,
        parameters: np.ndarray,
        knots: Float[np.ndarray, "three knots"],
        atoms: np.ndarray,
        counts: np.ndarray,
    ) -> "NumberColumn":
        """Return the column that was saved."""
        kind, centre, spread, margin, step, low, high = map(float, parameters)
        front = Front(FRONTS[int(kind)], centre, spread, margin)
        return cls(Warp(front, Spline(*knots)), step, low, high, atoms, counts)


def rounded(x: np.ndarray, step: float) -> np.ndarray:
    """Return the nearest multiples of a step, as decimals are read: 3·0.1 is 0.3.

    Numbers so large that float64 has no finer ones are returned as they are.
    """
    if not step:
        return x
    inverse = round(1 / step) if step < 1 else 0
    k = np.round(x / step)
    near = k / inverse if inverse and abs(inverse * step - 1) < 1e-9 else k * step
    return np.where(np.abs(k) < _EXACT, near, x)


def _front(x: Numbers, step: float, low: float, high: float) -> Front:
    """Choose the front of a column: with a bound only where the bound is near its values."""
    if not len(x):
        x = np.zeros(1)
    quarter, middle, three = np.quantile(x, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore"):  # between numbers near float64's largest
        spread = min(three / 1.349 - quarter / 1.349, _WIDEST)
    if spread <= 1e-12 * max(abs(quarter), abs(three)):
        largest = float(np.abs(x).max()) or 1.0
        spread = min(largest * float(np.std(x / largest)), _WIDEST)
    if spread <= 1e-12 * abs(middle) or not np.isfinite(spread):
        spread = abs(middle) or 1.0
    half = 0.5 * step
    if np.isfinite(low) and np.isfinite(high) and middle - low < 20 * spread > high - middle:
        return Front("between", low, high - low, half / (high - low))
    if np.isfinite(low) and 0 < middle - low + half < 20 * spread:
        unit = middle - low + half
        return Front("above", low, unit, half / unit)
    return Front("plain", float(middle), float(spread))


def _ends(front: Front, x: Numbers, step: float) -> tuple[Numbers, Numbers]:
    """Return the ends of the rounding intervals on the front; the values, if continuous."""
    y = front.forward(front.units(x))
    if not step:
        return y, y
    low, high = (front.forward(front.units(x + side * 0.5 * step)) for side in (-1, 1))
    if front.margin:  # the intervals at the bounds reach to infinity
        low, high = np.maximum(low, 2 * y - high), np.minimum(high, 2 * y - low)
    return low, high


def _atoms(x: Numbers, step: float, low: float, high: float) -> np.ndarray:
    """Return the values that are repeated far above chance."""
    values, counts = np.unique(x, return_counts=True)
    if not step:
        found = counts >= max(5.0, 0.01 * len(x))
        # A density has no mass at its bound: a value there is a point of its own.
        found |= (values == low) | (values == high)
    else:
        index = np.round(values / step)
        beside = np.zeros(len(values))
        for shift in (-2, -1, 1, 2):
            at = np.clip(np.searchsorted(index, index + shift), 0, len(index) - 1)
            beside = np.maximum(beside, np.where(index[at] == index + shift, counts[at], 0))
        found = counts >= np.maximum(3 * beside + 6, 0.002 * len(x))
    if len(values) == 1:
        found[:] = len(x) > 1
    kept = np.flatnonzero(found)
    kept = kept[np.argsort(-counts[kept], kind="stable")[:MOST_ATOMS]]
    return values[np.sort(kept)]
