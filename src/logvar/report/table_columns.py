"""Each column of data against samples: how far apart their distributions are, and one picture."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from logvar.data.table.arrow import PER_DAY
from logvar.data.table.schema import WITH_LEVELS, Column
from logvar.report import table_marks as marks

LEVELS = 8
"""Lines for levels; the last one is "others" if there are more levels."""
_BINS = 30
_ATOM = 0.3
"""A value that at least this share of the data have is told in words, and its bar left out."""


class Distance(NamedTuple):
    """How far the distributions of one column are apart, in [0, 1]."""

    value: float
    """The Kolmogorov–Smirnov distance of numbers, the total variation distance of levels."""
    by_chance: float
    """About what it would be on average if both were drawn from one distribution."""


def distance(
    data: Float[np.ndarray, "rows"], samples: Float[np.ndarray, "samples"], column: Column
) -> Distance:
    """Return the distance between a column's observed cells and its samples.

    Numbers: max |F − G| of the distribution functions. Levels: Σ|p − q|/2. 1 − distance is the
    "column shape" of SDMetrics. By chance, the first is about √(π/2)·log 2·√(1/n + 1/m) for
    continuous numbers and the second Σ√(p(1 − p)(1/n + 1/m)/(2π)).

    Example:
        >>> sex = Column("sex", "binary", levels=("F", "M"))
        >>> round(distance(np.array([0.0, 1, 1, 1]), np.array([0.0, 1]), sex).value, 6)
        0.25
    """
    data, samples = _observed(data), _observed(samples)
    if not len(data) or not len(samples):
        return Distance(math.nan, math.nan)
    per_row = 1 / len(data) + 1 / len(samples)
    if column.kind in WITH_LEVELS or column.kind == "constant":
        levels = max(len(column.levels), 2)
        p, q = (_shares(values, levels) for values in (data, samples))
        pooled = (p * len(data) + q * len(samples)) / (len(data) + len(samples))
        by_chance = np.sqrt(pooled * (1 - pooled) * per_row / (2 * np.pi)).sum()
        return Distance(float(np.abs(p - q).sum() / 2), float(by_chance))
    values = np.unique(np.concatenate([data, samples]))
    below = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (data, samples)]
    by_chance = math.sqrt(math.pi / 2) * math.log(2) * math.sqrt(per_row)
    return Distance(float(np.abs(below[0] - below[1]).max()), by_chance)


def picture(data: np.ndarray, samples: np.ndarray, column: Column) -> str:
    """Return the panel of one column: a histogram of numbers, or a bar for each level."""
    apart = distance(data, samples, column)
    data, samples = _observed(data), _observed(samples)
    name = str(column.name).strip()
    if not len(data):
        return marks.panel(name, f"{column.kind}; no cell observed", "")
    note = f"{column.kind} · distance {apart.value:.3f} ({apart.by_chance:.3f} by chance)"
    if column.kind == "constant":
        levels = [(str(column.value), 1 - _not_zero(data), 1 - _not_zero(samples))]
        return marks.panel(name, note, marks.bars(levels, 1))
    if column.kind in WITH_LEVELS:
        return marks.panel(name, note, marks.bars(level_lines(data, samples, column)))
    atom = _atom(data, column)
    if atom is None:
        return marks.panel(name, note, _histogram(data, samples, column))
    shares = [np.mean(x == atom) for x in (data, samples)]
    words = (
        f"= {_value(atom, column)}: {shares[0]:.1%} of data, {shares[1]:.1%} of samples; others "
        "below"
    )
    rest = [x[x != atom] for x in (data, samples)]
    return marks.panel(name, f"{note}\n{words}", _histogram(rest[0], rest[1], column))


def level_lines(
    data: np.ndarray, samples: np.ndarray, column: Column
) -> list[tuple[str, float, float]]:
    """Return (level, share of the data, share of the samples), the commonest first; the levels of
    an ordinal column in their order. What does not fit is the last line."""
    p, q = (_shares(values, len(column.levels)) for values in (data, samples))
    order = np.argsort(-(p + q), kind="stable")
    if len(order) <= LEVELS:
        kept, rest = order, order[:0]
    else:
        kept, rest = order[: LEVELS - 1], order[LEVELS - 1 :]
    if column.kind == "ordinal":
        kept = np.sort(kept)
    lines = [(str(column.levels[i]).strip(), float(p[i]), float(q[i])) for i in kept]
    if len(rest):
        lines.append((f"{len(rest)} others", float(p[rest].sum()), float(q[rest].sum())))
    return lines


def _observed(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _not_zero(values: np.ndarray) -> float:
    return float(np.mean(values != 0))


def _shares(codes: np.ndarray, levels: int) -> np.ndarray:
    return np.bincount(codes.astype(int), minlength=levels) / len(codes)


def _atom(data: np.ndarray, column: Column) -> float | None:
    values, counts = np.unique(data, return_counts=True)
    few = column.step and np.ptp(values) / column.step <= _BINS
    if few or len(values) < 3 or counts.max() < _ATOM * len(data):
        return None
    return float(values[np.argmax(counts)])


def _histogram(data: np.ndarray, samples: np.ndarray, column: Column) -> str:
    both = np.concatenate([data, samples])
    if not len(both):
        return ""
    on_log = _on_log_axis(data)
    edges = _edges(data if len(data) > 1 else both, column, on_log)
    # What is beyond the axis counts in its first and last bins.
    inside = np.nextafter(edges[-1], -np.inf)
    heights = [
        np.histogram(np.clip(x, edges[0], inside), edges)[0] / max(len(x), 1)
        for x in (data, samples)
    ]
    scale = np.log10 if on_log else (lambda x: x)
    low, high = scale(edges[0]), scale(edges[-1])
    ticks = [
        (float((scale(v) - low) / (high - low)), text)
        for v, text in _ticks(edges[0], edges[-1], column, on_log)
    ]
    return marks.histogram(heights[0], heights[1], ticks)


def _on_log_axis(data: np.ndarray) -> bool:
    """Whether positive numbers have a tail that would leave a linear axis nearly empty."""
    if len(data) < 10 or data.min() <= 0:
        return False
    median, far = np.quantile(data, [0.5, 0.99])
    return bool(far > 8 * median)


def _edges(data: np.ndarray, column: Column, on_log: bool) -> np.ndarray:
    """The edges of bins from the .002 to the .998 quantile of the data, whole steps wide."""
    low, high = (float(q) for q in np.quantile(data, [0.002, 0.998], method="nearest"))
    bins = int(np.clip(2 * math.sqrt(len(data)), 8, _BINS))
    if on_log:
        return np.geomspace(low, max(high, 1.01 * low), bins + 1)
    step = column.step
    if step and (high - low) / step < 20 * bins:
        # Bins of unequal numbers of steps would look like a comb.
        width = step * max(1, math.ceil((high - low) / step / bins))
        return np.arange(low - step / 2, high + step / 2 + width * 0.999, width)
    margin = 0 if high > low else abs(low) / 100 or 1
    return np.linspace(low - margin, high + margin, bins + 1)


def _ticks(low: float, high: float, column: Column, on_log: bool) -> list[tuple[float, str]]:
    if on_log:
        exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high)) + 1)
        powers = [10.0**e for e in exponents]
        if len(powers) < 2:
            powers = [low, math.sqrt(low * high), high]
        every = -(-len(powers) // 4)
        return [(p, short(p)) for p in powers[::every]]
    if column.kind == "date":
        places = [low + share * (high - low) for share in (0.06, 0.5, 0.94)]
        if column.step:  # a place between two days would be written as the first of them
            first = low + column.step / 2
            places = [first + column.step * round((p - first) / column.step) for p in places]
        return [(place, date_text(place, column, high - low)) for place in places]
    whole = column.step == 1
    nice = MaxNLocator(4, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [(float(p), short(float(p))) for p in nice if low <= p <= high]


def short(value: float) -> str:
    """Format a number for an axis."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.2g}".replace("-", "−")
    for unit, name in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1e4, "k")):
        if size >= unit:
            scale = 1e3 if name == "k" else unit
            return f"{value / scale:.4g}{name}".replace("-", "−")
    return f"{value:,.6g}".replace("-", "−")


def date_text(value: float, column: Column, span: float = math.inf) -> str:
    """Format a date, or a time or duration, counted in the column's unit."""
    per_day = PER_DAY.get(column.unit, 1)
    if column.dtype.startswith("duration"):
        days = value / per_day
        return f"{days:.3g} days" if days >= 1 else f"{24 * days:.3g} hours"
    moment = np.datetime64(0, "us") + np.timedelta64(round(value * 86_400_000_000 / per_day), "us")
    if column.dtype.startswith("time") and not column.dtype.startswith("timestamp"):
        return str(moment)[11:16]
    return str(moment)[: 16 if span < 3 * per_day else 10].replace("T", " ")


def _value(value: float, column: Column) -> str:
    return date_text(value, column) if column.kind == "date" else short(value)
