"""A monotone map T of one number column to normal scores, with its exact slope and inverse.

T is a spline of a front: the front is a fixed function that tames heavy tails and respects bounds,
the spline is fitted to the training column (`logvar.data.table.density`). Beyond the training
column T goes on as straight lines, and far out as logarithms. A value x has the score T(x), near
N(0, 1) over the training column, and log p(x) = log p(T(x)) + log T′(x).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

FRONTS = ("plain", "above", "between")
FARTHEST = 1e30
"""In units of the column's spread: values beyond are scored as if they were here."""
_REACH = 2.0
"""The reach of a tail in u, times dy/du at its start."""

Numbers = Float[np.ndarray, "*numbers"]


@dataclasses.dataclass(frozen=True)
class Front:
    """u ↦ y, before the spline, with u = (x − centre)/spread.

    plain: y = asinh(u), which is u near the centre and ±log 2|u| in the tails.
    above: y = log(u + margin), for columns with a lower bound near their values; centre is the
    bound.
    between: y = log((u + margin)/(1 + margin − u)), for columns with two bounds; spread is their
    distance.

    Args:
        kind: one of `FRONTS`.
        centre: the median of the column, or its lower bound.
        spread: the unit of u.
        margin: how far beyond a bound u may reach: half a rounding step; 0 for continuous columns.
    """

    kind: str
    centre: float
    spread: float
    margin: float = 0.0

    def units(self, x: Numbers) -> Numbers:
        """u = (x − centre)/spread, within ±`FARTHEST`."""
        wide = np.asarray(x, np.float64)
        with np.errstate(over="ignore"):
            u = wide / self.spread - self.centre / self.spread
            near = np.abs(wide) < 1e300
            u = np.where(near, (np.where(near, wide, 0.0) - self.centre) / self.spread, u)
        u = np.clip(u, -FARTHEST, FARTHEST)
        if self.kind == "plain":
            return u
        # A value at a bound without margin is scored as one close to it.
        beside = 1e-30 if self.margin == 0 else 1e-9 * self.margin
        top = FARTHEST if self.kind == "above" else 1 + self.margin - max(beside, 1e-15)
        return np.clip(u, beside - self.margin, top)

    def forward(self, u: Numbers) -> Numbers:
        """Return y of u."""
        if self.kind == "plain":
            return np.arcsinh(u)
        if self.kind == "above":
            return np.log(u + self.margin)
        return np.log(u + self.margin) - np.log1p(self.margin - u)

    def log_rise(self, u: Numbers) -> Numbers:
        """log dy/du."""
        if self.kind == "plain":
            return -np.log(np.hypot(1.0, u))
        below = -np.log(u + self.margin)
        if self.kind == "above":
            return below
        return below - np.log1p(self.margin - u) + np.log1p(2 * self.margin)

    def units_of(self, y: Numbers) -> Numbers:
        """Return u of y."""
        y = np.clip(np.asarray(y, np.float64), -69.0, 69.0)
        if self.kind == "plain":
            return np.sinh(y)
        if self.kind == "above":
            return np.exp(y) - self.margin
        return (1 + 2 * self.margin) / (1 + np.exp(-y)) - self.margin


@dataclasses.dataclass(frozen=True, eq=False)
class Spline:
    """An increasing rational-quadratic spline y ↦ s, continued as straight lines.

    In each bin of width w and height h, with δ = h/w, slopes d₀ and d₁ at its ends and
    θ = (y − y₀)/w: s = s₀ + h·(δθ² + d₀θ(1 − θ))/(δ + (d₀ + d₁ − 2δ)θ(1 − θ)). Slope and inverse
    have closed forms.

    Args:
        y: the knots, increasing.
        s: their values, increasing.
        slope: ds/dy at the knots, positive.

    Reference:
        Gregory & Delbourgo 1982, doi:10.1093/imanum/2.2.123; Durkan et al. 2019, arXiv 1906.04032.
    """

    y: Float[np.ndarray, "knots"]
    s: Float[np.ndarray, "knots"]
    slope: Float[np.ndarray, "knots"]

    def _bin(self, values: Numbers, knots: Float[np.ndarray, "knots"]) -> np.ndarray:
        return np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)

    def forward(self, y: Numbers) -> tuple[Numbers, Numbers]:
        """Return (s, log ds/dy)."""
        y = np.asarray(y, np.float64)
        k = self._bin(y, self.y)
        w, h = np.diff(self.y)[k], np.diff(self.s)[k]
        d0, d1, mean = self.slope[k], self.slope[k + 1], h / w
        t = np.clip((y - self.y[k]) / w, 0.0, 1.0)
        rest = t * (1 - t)
        bottom = mean + (d0 + d1 - 2 * mean) * rest
        s = self.s[k] + h * (mean * t**2 + d0 * rest) / bottom
        slope = (mean / bottom) ** 2 * (d1 * t**2 + 2 * mean * rest + d0 * (1 - t) ** 2)
        below, above = np.minimum(y - self.y[0], 0.0), np.maximum(y - self.y[-1], 0.0)
        return s + below * self.slope[0] + above * self.slope[-1], np.log(slope)

    def inverse(self, s: Numbers) -> Numbers:
        """Return y."""
        s = np.asarray(s, np.float64)
        k = self._bin(s, self.s)
        w, h = np.diff(self.y)[k], np.diff(self.s)[k]
        r0, r1 = self.slope[k] * w / h, self.slope[k + 1] * w / h
        part = np.clip((s - self.s[k]) / h, 0.0, 1.0)
        b = r0 - part * (r0 + r1 - 2)
        a = 1 - r0 + part * (r0 + r1 - 2)
        t = 2 * part / (b + np.sqrt(np.maximum(b**2 + 4 * a * part, 0.0)))
        below, above = np.minimum(s - self.s[0], 0.0), np.maximum(s - self.s[-1], 0.0)
        return self.y[k] + w * t + below / self.slope[0] + above / self.slope[-1]

    def padded(self, knots: int) -> "Spline":
        """Return the same map with more knots, which lie on its upper line."""
        more = np.arange(1, knots - len(self.y) + 1)
        return Spline(
            np.concatenate([self.y, self.y[-1] + more]),
            np.concatenate([self.s, self.s[-1] + more * self.slope[-1]]),
            np.concatenate([self.slope, np.full(len(more), self.slope[-1])]),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """How T goes on beyond one end of the spline: s = s₁ ± slope·reach·asinh(|u − u₁|/reach).

    That is a straight line over about `reach`, and a logarithm far beyond.

    Args:
        side: −1 for the lower end, 1 for the upper one.
        u: where it starts.
        s: T there.
        slope: ds/du there.
        reach: in units of u; twice the distance of the end from the column's centre or bound,
            roughly.
    """

    side: int
    u: float
    s: float
    slope: float
    reach: float

    def forward(self, u: Numbers) -> tuple[Numbers, Numbers]:
        """Return what is added to s and to log ds/du."""
        beyond = np.maximum(self.side * (u - self.u), 0.0) / self.reach
        return (
            self.side * self.slope * self.reach * np.arcsinh(beyond),
            -np.log(np.hypot(1.0, beyond)),
        )

    def inverse(self, s: Numbers) -> Numbers:
        """Return what is added to u."""
        beyond = np.maximum(self.side * (s - self.s), 0.0) / (self.slope * self.reach)
        return self.side * self.reach * np.sinh(np.minimum(beyond, 69.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Warp:
    """T: a spline of a front, with a tail at each end that has no bound near it."""

    front: Front
    spline: Spline

    @functools.cached_property
    def tails(self) -> tuple[Tail, ...]:
        """The tails; towards a bound of its front, the spline's straight line goes on instead."""
        sides = {"plain": (-1, 1), "above": (1,), "between": ()}[self.front.kind]
        return tuple(self._tail(side) for side in sides)

    def _tail(self, side: int) -> Tail:
        end = -1 if side > 0 else 0
        u = self.front.units_of(self.spline.y[[end]])
        rise = float(np.exp(self.front.log_rise(u))[0])
        return Tail(
            side,
            float(u[0]),
            float(self.spline.s[end]),
            float(self.spline.slope[end]) * rise,
            _REACH / rise,
        )

    def _within(self, values: Numbers, of: str) -> Numbers:
        """Clip to the ends where tails start."""
        for tail in self.tails:
            end = getattr(tail, of)
            values = np.minimum(values, end) if tail.side > 0 else np.maximum(values, end)
        return values

    def score(self, x: Numbers) -> Numbers:
        """T(x), the normal score."""
        return self._forward(x)[0]

    def log_slope(self, x: Numbers) -> Numbers:
        """log T′(x), in nats per unit of x."""
        return self._forward(x)[1]

    def _forward(self, x: Numbers) -> tuple[Numbers, Numbers]:
        u = self.front.units(x)
        inside = self._within(u, "u")
        s, log_slope = self.spline.forward(self.front.forward(inside))
        log_slope = log_slope + self.front.log_rise(inside) - np.log(self.front.spread)
        for tail in self.tails:
            more, log_less = tail.forward(u)
            s, log_slope = s + more, log_slope + log_less
        return s, log_slope

    def inverse(self, s: Numbers) -> Numbers:
        """T⁻¹(s)."""
        s = np.asarray(s, np.float64)
        u = self.front.units_of(self.spline.inverse(self._within(s, "s")))
        for tail in self.tails:
            u = u + tail.inverse(s)
        return self.front.centre + self.front.spread * np.clip(u, -FARTHEST, FARTHEST)
