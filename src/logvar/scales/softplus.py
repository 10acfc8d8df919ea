"""Softplus as the standard deviation, as the variance and as the precision."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from logvar.errors import LogvarError
from logvar.scales.base import Bound, Scale
from logvar.scales.numerics import (
    Values,
    by_logarithm,
    log_softplus_ratio,
    log_softplus_slope,
    softplus,
)


def _inverse_softplus(value: Values) -> Values:
    return value + jnp.log(-jnp.expm1(-value))


class Softplus(Scale):
    """σ = log(1 + e^{βr}) / β: exponential below zero, linear above."""

    beta: float = eqx.field(static=True, converter=float, default=1.0)
    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = "TensorFlow Probability and Pyro guides; β = ln 2: Efficient-VDVAE"

    def __check_init__(self):
        if not 0 < self.beta < math.inf:
            raise LogvarError(f"softplus beta is {self.beta}: expected a positive number")

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return log_softplus_ratio(raw, self.beta)

    def _sigma(self, raw: Values) -> Values:
        return softplus(self.beta * raw) / self.beta

    def _variance(self, raw: Values) -> Values:
        return jnp.square(self._sigma(raw))

    def _raw_of(self, sigma: Values) -> Values:
        return _inverse_softplus(self.beta * sigma) / self.beta

    def _slope(self, raw: Values) -> Values:
        return log_softplus_slope(raw, self.beta)


class SoftplusVariance(Scale):
    """σ² = log(1 + e^r): the softplus of a *variance*, so σ grows like √r."""

    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = "scvi-tools, var_activation=softplus"

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return 0.5 * log_softplus_ratio(raw, 1.0)

    def _sigma(self, raw: Values) -> Values:
        return by_logarithm(jnp.sqrt(softplus(raw)), self._log_sigma(raw))

    def _variance(self, raw: Values) -> Values:
        return softplus(raw)

    def _raw_of(self, sigma: Values) -> Values:
        return _inverse_softplus(jnp.square(sigma))

    def _slope(self, raw: Values) -> Values:
        return 0.5 * log_softplus_slope(raw, 1.0)


class SoftplusPrecision(Scale):
    """1/σ² = log(1 + e^r): σ falls as r grows, and KL is not convex for r > 2.23219."""

    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "Gaussian precision by softplus, as in Bayesian regression code"

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        return -0.5 * log_softplus_ratio(raw, 1.0)

    def _sigma(self, raw: Values) -> Values:
        return by_logarithm(1 / jnp.sqrt(softplus(raw)), self._log_sigma(raw))

    def _variance(self, raw: Values) -> Values:
        return by_logarithm(1 / softplus(raw), 2 * self._log_sigma(raw))

    def _raw_of(self, sigma: Values) -> Values:
        return _inverse_softplus(1 / jnp.square(sigma))

    def _slope(self, raw: Values) -> Values:
        return -0.5 * log_softplus_slope(raw, 1.0)
