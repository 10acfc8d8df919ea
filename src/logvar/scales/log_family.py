"""log σ = rate · r: log-variance, log-std and isometric are one family.

All of them compute everything from log σ, and ½ and 1 are powers of two. So once step size and
start are matched, a run under one is bit for bit the run under the other.
"""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from logvar.scales.base import Bound, Scale
from logvar.scales.numerics import Values


class LogFamily(Scale):
    """log σ = rate · r, with slope d = rate everywhere and σ(0) = 1."""

    rate: float = eqx.field(static=True)
    is_convex: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "log-variance: Kingma & Welling 2013 (arXiv 1312.6114) and the TensorFlow CVAE tutorial; "
        "log-std: openai/vdvae; isometric: the rate at which r's Fisher information is 1"
    )

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        return 0.0, math.inf

    def _log_sigma(self, raw: Values) -> Values:
        # The barrier keeps XLA from folding the rate into later operations, which would then round
        # in another order for another rate: with it, matched runs are the same program from here.
        return lax.optimization_barrier(self.rate * raw)

    def _raw_of(self, sigma: Values) -> Values:
        return jnp.log(sigma) / self.rate

    def _slope(self, raw: Values) -> Values:
        return jnp.full_like(raw, self.rate)


def log_variance() -> LogFamily:
    """r = log σ², the most common choice."""
    return LogFamily(0.5)


def log_std() -> LogFamily:
    """r = log σ."""
    return LogFamily(1.0)


def isometric() -> LogFamily:
    """r = √2 · log σ: one unit of r is one unit of Fisher–Rao distance."""
    return LogFamily(math.sqrt(0.5))


def log_precision() -> LogFamily:
    """r = −log σ²: log-variance with the opposite sign."""
    return LogFamily(-0.5)
