"""Stdplus: the parameterization in which KL to the standard normal is exactly r²/2."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from logvar.scales.base import Bound, Scale
from logvar.scales.numerics import Values, expm1_minus

# Power series of u = log σ² in t = √2·r at the solution of e^u − 1 − u = t²/2.
_SERIES = (1.0, -1 / 6, 1 / 36, -1 / 270, 1 / 4320, 1 / 17010)


class Stdplus(Scale):
    """σ² − 2 log σ − 1 = r², with the sign of r that of log σ, so that KL = ½(r² + μ²)."""

    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = "Slashed Normal (ICLR 2025 submission, withdrawn)"

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return _log_sigma(raw)

    def _variance(self, raw: Values) -> Values:
        log_variance = 2 * _log_sigma(raw)
        # σ² = r² + 1 + log σ² by definition: for large σ² this rounds once, exp many times.
        by_definition = jnp.square(raw) + 1 + log_variance
        return jnp.where(raw > 1, by_definition, jnp.exp(jnp.where(raw > 1, 0.0, log_variance)))

    def _sigma(self, raw: Values) -> Values:
        return jnp.where(
            raw > 1, jnp.sqrt(self._variance(jnp.maximum(raw, 1.0))), jnp.exp(_log_sigma(raw))
        )

    def _kl_excess(self, raw: Values) -> Values:
        return 0.5 * jnp.square(raw)

    def _raw_of(self, sigma: Values) -> Values:
        return _signed_root(2 * jnp.log(sigma))

    def _slope(self, raw: Values) -> Values:
        return _slope(raw, _log_sigma(raw))


def _signed_root(u: Values) -> Values:
    return jnp.sign(u) * jnp.sqrt(expm1_minus(u))


@jax.custom_jvp
def _log_sigma(raw: Values) -> Values:
    """Solve e^u − 1 − u = r² for u = 2 log σ by Newton's method on the signed square root.

    The root turns the double zero at u = 0 into a simple one. From these starting points four
    iterations reach float64's rounding for every r; a fifth costs little and is margin.
    """
    start_below = math.sqrt(2) * raw - jnp.square(raw)
    start_above = 2 * jnp.log1p(jnp.maximum(raw, 0.0) / math.sqrt(2))
    u = jnp.where(raw < 0, start_below, start_above)
    for _ in range(5):
        root = _signed_root(u)
        growth = jnp.where(u == 0, 1.0, jnp.expm1(u))
        step = (root - raw) * jnp.where(u == 0, math.sqrt(2), 2 * root / growth)
        u = u - step
    small = jnp.abs(raw) < 0.02
    return 0.5 * jnp.where(small, _series(raw), u)


def _series(raw: Values) -> Values:
    t = math.sqrt(2) * jnp.clip(raw, -0.02, 0.02)
    value = jnp.zeros_like(t)
    for coefficient in reversed(_SERIES):
        value = t * (coefficient + value)
    return value


def _slope(raw: Values, log_sigma: Values) -> Values:
    """d = r / (σ² − 1), by its series near r = 0 so that its own derivative is right there too."""
    small = jnp.abs(raw) < 0.02
    series = 0.5 * jax.jvp(_series, (raw,), (jnp.ones_like(raw),))[1]
    growth = jnp.where(small, 1.0, jnp.expm1(2 * log_sigma))
    return jnp.where(small, series, raw / growth)


@_log_sigma.defjvp
def _log_sigma_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    (raw,), (tangent,) = primals, tangents
    log_sigma = _log_sigma(raw)
    return log_sigma, _slope(raw, log_sigma) * tangent
