"""Stdplus: the parameterization in which KL to the standard normal is exactly r²/2."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from logvar.scales.base import Bound, Scale
from logvar.scales.numerics import Values, expm1_minus

# Power series of u = log σ² in t = √2·r at the solution of e^u − 1 − u = t²/2.
# For |r| < _NEAR the next term is below float64's rounding.
_NEAR = 0.005
_SERIES = (1.0, -1 / 6, 1 / 36, -1 / 270, 1 / 4320, 1 / 17010)


class Stdplus(Scale):
    """σ² − 2 log σ − 1 = r², where r has the sign of log σ, so that KL = ½(r² + μ²)."""

    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = "Slashed Normal (ICLR 2025 submission, withdrawn)"

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return _log_sigma(raw)

    def _variance(self, raw: Values) -> Values:
        return _variance(raw)

    def _sigma(self, raw: Values) -> Values:
        # jnp.maximum and jnp.minimum would halve the derivative at r = 1.
        above = jnp.sqrt(_variance(jnp.where(raw > 1, raw, 1.0)))
        return jnp.where(raw > 1, above, jnp.exp(_log_sigma(jnp.where(raw > 1, 1.0, raw))))

    def _kl_excess(self, raw: Values) -> Values:
        return 0.5 * jnp.square(raw)

    def _raw_of(self, sigma: Values) -> Values:
        return _signed_root(2 * jnp.log(sigma))

    def _slope(self, raw: Values) -> Values:
        return _slope(raw)


def _signed_root(u: Values) -> Values:
    return jnp.sign(u) * jnp.sqrt(expm1_minus(u))


@jax.custom_jvp
def _log_sigma(raw: Values) -> Values:
    """Solve e^u − 1 − u = r² for u = 2 log σ by Newton's method, in one of two forms.

    Up to r = 1 on the signed square root of both sides, which turns the double zero at u = 0
    into a simple one; above, on u = log(r² + 1 + u), which never overflows. From these starting
    points four iterations reach float64's precision for every r; a fifth is for safety.
    """
    u = math.sqrt(2) * raw - jnp.where(raw < 0, jnp.square(raw), 0.0)
    below = jnp.minimum(u, 2.0)
    above = 2 * jnp.log1p(jnp.maximum(raw, 1.0) / math.sqrt(2))
    square = jnp.square(jnp.maximum(raw, 1.0))
    for _ in range(5):
        root = _signed_root(below)
        growth = jnp.where(below == 0, 1.0, jnp.expm1(below))
        per_root = jnp.where(below == 0, math.sqrt(2), 2 * root / growth)
        below = below - (root - jnp.minimum(raw, 1.0)) * per_root
        variance = square + 1 + above
        above = above - (above - jnp.log(variance)) / (1 - 1 / variance)
    small = jnp.abs(raw) < _NEAR
    return 0.5 * jnp.where(small, _series(raw), jnp.where(raw > 1, above, below))


def _series(raw: Values) -> Values:
    t = math.sqrt(2) * jnp.clip(raw, -_NEAR, _NEAR)
    value = jnp.zeros_like(t)
    for coefficient in reversed(_SERIES):
        value = t * (coefficient + value)
    return value


def _variance(raw: Values) -> Values:
    log_variance = 2 * _log_sigma(raw)
    # σ² = r² + 1 + log σ² by definition: for large σ² this rounds once, exp many times.
    by_definition = jnp.square(raw) + 1 + log_variance
    return jnp.where(raw > 1, by_definition, jnp.exp(jnp.where(raw > 1, 0.0, log_variance)))


def _series_slope(raw: Values) -> Values:
    return 0.5 * jax.jvp(_series, (raw,), (jnp.ones_like(raw),))[1]


@jax.custom_jvp
def _slope(raw: Values) -> Values:
    """d = r / (σ² − 1); near r = 0 by its series."""
    small = jnp.abs(raw) < _NEAR
    return jnp.where(
        small, _series_slope(raw), raw / jnp.where(small, 1.0, _variance_minus_one(raw))
    )


def _variance_minus_one(raw: Values) -> Values:
    return jnp.where(raw > 1, _variance(raw) - 1, jnp.expm1(2 * _log_sigma(raw)))


@_slope.defjvp
def _slope_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    """d′ = (1 − 2σ²d²)/(σ² − 1), arranged so that σ² ≈ 1e38 does not overflow."""
    (raw,), (tangent,) = primals, tangents
    small = jnp.abs(raw) < _NEAR
    slope = _slope(raw)
    series = jax.jvp(_series_slope, (raw,), (jnp.ones_like(raw),))[1]
    growth = jnp.where(small, 1.0, _variance_minus_one(raw))
    second = (1 - 2 * (slope * _variance(raw)) * slope) / growth
    return slope, jnp.where(small, series, second) * tangent


@_log_sigma.defjvp
def _log_sigma_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    (raw,), (tangent,) = primals, tangents
    return _log_sigma(raw), _slope(raw) * tangent
