"""The density of a training column, smoothed, and the spline to normal scores that it gives.

A kernel density on a grid with reflecting ends, whose width is chosen by cross-validation, so
valleys between peaks stay open in large tables and few rows do not give a staircase. The spline's
knots are then placed one by one where it is furthest from that density.
"""

import numpy as np
from jaxtyping import Float
from scipy.fft import dct, idct
from scipy.special import ndtri

from logvar.data.table.warp import Spline

CELLS = 2048
MOST_KNOTS = 64
_FOLDS = 5
_WIDTHS = 16
_LEAST_RISE = 1e-4
"""The smallest rise of the spline in a bin, in normal scores: float32 tells its ends apart."""
_CLOSE = 1e-5
"""Knots are added until the spline is within this divergence of the density, in nats."""

Edges = Float[np.ndarray, "edges"]
Masses = Float[np.ndarray, "cells"]


def spline_of(low: np.ndarray, high: np.ndarray) -> Spline:
    """Return the spline that takes these values to normal scores.

    Args:
        low: (values,) the lower ends of rounding intervals; for continuous values, the values.
        high: (values,) the upper ends.
    """
    n = len(low)
    if n == 0 or not np.max(high) - np.min(low) > 1e-12 * max(1.0, np.max(np.abs(low))):
        at = float(low[0]) if n else 0.0
        return Spline(np.array([at - 1, at + 1]), np.array([-1.0, 1.0]), np.ones(2))
    edges = _grid(low, high)
    order = np.argsort(low, kind="stable")
    fold = np.random.default_rng(0).permutation(n) % _FOLDS
    by_fold = np.stack(
        [_masses(low[order][fold == f], high[order][fold == f], edges) for f in range(_FOLDS)]
    )
    width = _best_width(by_fold, _rule_of_thumb(low, high), edges[1] - edges[0])
    smooth = _smoothed(by_fold.sum(0), width / (edges[1] - edges[0]))
    smooth = (smooth / n + 1 / ((n + 1) * CELLS)) / (1 + 1 / (n + 1))
    return _fitted(edges, smooth / smooth.sum(), 0.5 / (n + 1), n)


def _grid(low: np.ndarray, high: np.ndarray) -> Edges:
    """Return the edges of the cells: from the first to the last value and, if values are
    continuous, the typical gap of the outer values beyond, up to a twentieth of the range."""
    bottom, top = float(np.min(low)), float(np.max(high))
    if (high > low).all():
        return np.linspace(bottom, top, CELLS + 1)
    ordered, near = np.sort(low), max(1, int(np.sqrt(len(low)) / 2))
    near = min(near, len(low) - 1)
    most = 0.05 * (top - bottom)
    return np.linspace(
        bottom - min(most, (ordered[near] - ordered[0]) / near),
        top + min(most, (ordered[-1] - ordered[-1 - near]) / near),
        CELLS + 1,
    )


def _masses(low: np.ndarray, high: np.ndarray, edges: Edges) -> Masses:
    """Count values in cells; a rounding interval is spread over the cells that it covers."""
    if not len(low):
        return np.zeros(CELLS)
    if not (high > low).all():
        return np.histogram(low, edges)[0].astype(float)
    starts, counts = np.unique(low, return_counts=True)
    ends = np.unique(high)
    points = np.stack([starts, ends], 1).reshape(-1)
    before = np.concatenate([[0.0], np.cumsum(counts)])
    reached = np.stack([before[:-1], before[1:]], 1).reshape(-1)
    return np.diff(np.interp(edges, points, reached))


def _smoothed(
    masses: Float[np.ndarray, "... cells"], width: float
) -> Float[np.ndarray, "... cells"]:
    """Smooth by a Normal kernel of this standard deviation, in cells, reflected at the ends."""
    frequency = np.pi * np.arange(CELLS) / CELLS
    damped = dct(masses, axis=-1) * np.exp(-0.5 * np.square(frequency * width))
    return np.maximum(idct(damped, axis=-1), 0.0)


def _rule_of_thumb(low: np.ndarray, high: np.ndarray) -> float:
    """Silverman's width, which is too wide for several peaks and never too narrow for one."""
    middle = 0.5 * (low + high)
    quarter, three = np.quantile(middle, [0.25, 0.75])
    spreads = (np.std(middle), (three - quarter) / 1.34, np.ptp(high))
    # All values may be the same rounded one, which is as wide as its interval.
    spread = min((s for s in spreads if s > 0), default=np.max(high - low))
    return 0.9 * float(spread) * len(low) ** -0.2


def _best_width(by_fold: Float[np.ndarray, "folds cells"], thumb: float, cell: float) -> float:
    """Return the width of the kernel that best predicts the values that are held out in turn."""
    total = by_fold.sum(0)
    n = total.sum()
    widths = np.geomspace(max(0.5 * cell, 0.02 * thumb), max(1.6 * thumb, cell), _WIDTHS)
    used = by_fold.sum(1)
    gains = np.empty(_WIDTHS)
    for i, width in enumerate(widths):
        smooth = _smoothed(total - by_fold, width / cell)
        shares = smooth / np.maximum(n - used, 1)[:, None] + 1 / ((n + 1) * CELLS)
        gains[i] = np.sum(by_fold * np.log(shares))
    return float(widths[np.argmax(gains)])


def _fitted(edges: Edges, shares: Masses, outside: float, n: int) -> Spline:
    """Return the spline with as few knots as describe these shares of the cells."""
    below = outside + (1 - 2 * outside) * np.concatenate([[0.0], np.cumsum(shares)])
    above = outside + (1 - 2 * outside) * np.concatenate([np.cumsum(shares[::-1])[::-1], [0.0]])
    s = np.where(below < above, ndtri(np.minimum(below, 0.5)), -ndtri(np.minimum(above, 0.5)))
    padded = np.concatenate([shares[:1], shares, shares[-1:]])
    density = 0.5 * (padded[:-1] + padded[1:]) * (1 - 2 * outside) / (edges[1] - edges[0])
    log_slope = np.log(density) + 0.5 * s**2 + 0.5 * np.log(2 * np.pi)
    weight = 0.5 * (padded[:-1] + padded[1:]) + 0.01 / CELLS
    ends = [(0, CELLS)]
    misfit = {ends[0]: _misfit(edges, s, log_slope, weight, 0, CELLS)}
    most = int(np.clip(8 + n / 8, 8, MOST_KNOTS))
    while len(misfit) + 1 < most:
        (i, j), (error, at) = max(misfit.items(), key=lambda item: item[1][0])
        if error < _CLOSE / most:
            break
        del misfit[i, j]
        misfit[i, at] = _misfit(edges, s, log_slope, weight, i, at)
        misfit[at, j] = _misfit(edges, s, log_slope, weight, at, j)
    knots = np.array(sorted({k for pair in misfit for k in pair}))
    slope = np.exp(log_slope[knots])
    # Outside, the map goes on as steeply as it does over several outer values, not as at the one
    # that happens to be the last.
    outer = max(2.0, np.sqrt(n)) / n
    first = int(np.clip(np.searchsorted(below, outer), 1, CELLS))
    last = int(np.clip(CELLS - np.searchsorted(above[::-1], outer), 0, CELLS - 1))
    slope[0] = (s[first] - s[0]) / (edges[first] - edges[0])
    slope[-1] = (s[-1] - s[last]) / (edges[-1] - edges[last])
    return Spline(edges[knots], s[knots], slope)


def _misfit(
    edges: Edges, s: Edges, log_slope: Edges, weight: Edges, i: int, j: int
) -> tuple[float, int]:
    """Return (the divergence of one bin of the spline from the density, where to split it)."""
    inside = np.arange(i + 1, j)
    if len(inside) < 1:
        return 0.0, i
    some = inside if len(inside) <= 128 else inside[:: len(inside) // 128]
    ends = np.array([i, j])
    spline = Spline(edges[ends], s[ends], np.exp(log_slope[ends]))
    value, slope = spline.forward(edges[some])
    off = (slope - 0.5 * value**2) - (log_slope[some] - 0.5 * s[some] ** 2)
    error = weight[some] * off**2 * (len(inside) / len(some))
    allowed = (s[some] - s[i] > _LEAST_RISE) & (s[j] - s[some] > _LEAST_RISE)
    if not allowed.any():
        return 0.0, i
    reached = np.cumsum(error)
    half = int(np.searchsorted(reached, 0.5 * reached[-1]))
    nearest = np.flatnonzero(allowed)
    at = nearest[np.argmin(np.abs(nearest - half))]
    return float(reached[-1]), int(some[at])
