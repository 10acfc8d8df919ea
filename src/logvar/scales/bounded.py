"""Scales that grow slowly or not at all: exp-linear, bounded, tanh-bounded, sigmoid."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from logvar.errors import LogvarError
from logvar.scales.base import Bound, Scale
from logvar.scales.numerics import Values, log_sigmoid_ratio, tanh


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise LogvarError(f"{name} is {value}: expected a positive number")


def _positive_part(raw: Values) -> Values:
    """max(r, 0) with derivative 0 at r = 0, where jnp.maximum would give ½."""
    return jnp.where(raw > 0, raw, 0.0)


def _negative_part(raw: Values) -> Values:
    return jnp.where(raw > 0, 0.0, raw)


def _saturation(raw: Values) -> Values:
    """1 − e^{−r} for r ≥ 0; for large r by exp, whose derivative does not round to zero."""
    # (jnp.minimum would halve the derivative at r = 1.)
    near = jnp.where(raw > 1, 1.0, raw)
    return jnp.where(raw > 1, 1 - jnp.exp(-raw), -jnp.expm1(-near))


class ExpLinear(Scale):
    """σ = e^r for r ≤ 0 and 1 + r for r > 0; continuously differentiable."""

    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = "Dehaene & Brossard 2021 (arXiv 2106.13739)"

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return jnp.where(raw > 0, jnp.log1p(_positive_part(raw)), raw)

    def _sigma(self, raw: Values) -> Values:
        return jnp.where(raw > 0, 1 + raw, jnp.exp(_negative_part(raw)))

    def _variance(self, raw: Values) -> Values:
        above = jnp.square(1 + _positive_part(raw))
        return jnp.where(raw > 0, above, jnp.exp(2 * _negative_part(raw)))

    def _raw_of(self, sigma: Values) -> Values:
        return jnp.where(sigma > 1, sigma - 1, jnp.log(sigma))

    def _slope(self, raw: Values) -> Values:
        return 1 / (1 + _positive_part(raw))


class Bounded(Scale):
    """σ = (ω/2)·e^r for r ≤ 0 and (ω/2)·(2 − e^{−r}) for r > 0, so 0 < σ < ω."""

    omega: float = eqx.field(static=True, converter=float, default=2.0)
    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "Dehaene & Brossard 2021 (arXiv 2106.13739)"

    def __check_init__(self):
        _positive("bounded omega", self.omega)

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, self.omega

    def _log_sigma(self, raw: Values) -> Values:
        above = jnp.log1p(_saturation(_positive_part(raw)))
        return math.log(self.omega / 2) + jnp.where(raw > 0, above, raw)

    def _raw_of(self, sigma: Values) -> Values:
        half = self.omega / 2
        return jnp.where(sigma > half, -jnp.log((self.omega - sigma) / half), jnp.log(sigma / half))

    def _slope(self, raw: Values) -> Values:
        decay = jnp.exp(-_positive_part(raw))
        return decay / (2 - decay)


class TanhBounded(Scale):
    """log σ = centre + limit·tanh(r / stretch); stretch = limit unless given, so d(0) = 1."""

    limit: float = eqx.field(static=True, converter=float, default=5.0)
    centre: float = eqx.field(static=True, converter=float, default=0.0)
    stretch: float | None = eqx.field(static=True, default=None)
    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "NVAE (limit 5); CleanRL (log σ between −5 and 2)"

    def __check_init__(self):
        _positive("tanh-bounded limit", self.limit)
        _positive("tanh-bounded stretch", self._width)

    @property
    def _width(self) -> float:
        return self.limit if self.stretch is None else self.stretch

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return math.exp(self.centre - self.limit), math.exp(self.centre + self.limit)

    def _log_sigma(self, raw: Values) -> Values:
        return self.centre + self.limit * tanh(raw / self._width)

    def _raw_of(self, sigma: Values) -> Values:
        return self._width * jnp.arctanh((jnp.log(sigma) - self.centre) / self.limit)


class Sigmoid(Scale):
    """σ = limit·sigmoid(r / limit), so 0 < σ < limit."""

    limit: float = eqx.field(static=True, converter=float, default=2.0)
    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "DreamerV2 (limit 2)"

    def __check_init__(self):
        _positive("sigmoid limit", self.limit)

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, self.limit

    def _log_sigma(self, raw: Values) -> Values:
        return math.log(self.limit / 2) + log_sigmoid_ratio(raw / self.limit)

    def _raw_of(self, sigma: Values) -> Values:
        return self.limit * (jnp.log(sigma) - jnp.log(self.limit - sigma))
