"""Wrappers that bound another scale's σ: Clamped and Floored."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from logvar.errors import LogvarError
from logvar.scales.base import Bound, Scale, as_bound
from logvar.scales.numerics import Values, softplus


class Clamped(Scale):
    """Keeps log σ of another scale between `low` and `high`.

    By default smoothly, x ↦ x + softplus(low − x) − softplus(x − high): strictly increasing, so
    every raw output keeps a gradient. `hard=True` clips as usual, with gradient exactly 0
    outside. `straight_through=True` clips the value but passes gradients that lead back
    inside; its backward pass is deliberately not the derivative of its forward pass.
    """

    scale: Scale
    low: Bound = eqx.field(converter=as_bound)
    high: Bound = eqx.field(converter=as_bound)
    hard: bool = eqx.field(static=True, default=False)
    straight_through: bool = eqx.field(static=True, default=False)
    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "hard: huggingface/diffusers, SAC; smooth: logvar"

    def __check_init__(self):
        if self.hard and self.straight_through:
            raise LogvarError("clamped takes hard=True or straight_through=True, not both")
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise LogvarError(f"clamped low {self.low} is not below high {self.high}: swap them")

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        low, high = self.scale.bounds
        if self.hard or self.straight_through:
            return np.maximum(np.exp(self.low), low), np.minimum(np.exp(self.high), high)
        reached = [_smooth_clamp(math.log(b) if b else -math.inf, self) for b in (low, high)]
        return np.exp(reached[0]), np.exp(reached[1])

    def _log_sigma(self, raw: Values) -> Values:
        log_sigma = self.scale._log_sigma(raw)
        if self.straight_through:
            return _inward_clip(log_sigma, jnp.asarray(self.low), jnp.asarray(self.high))
        if self.hard:
            return jnp.clip(log_sigma, self.low, self.high)
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        middle = log_sigma + softplus(low - log_sigma) - softplus(log_sigma - high)
        # The same function, arranged so that nothing large cancels outside the bounds.
        below = low + softplus(log_sigma - low) - softplus(log_sigma - high)
        above = high + softplus(low - log_sigma) - softplus(high - log_sigma)
        return jnp.where(log_sigma < low, below, jnp.where(log_sigma > high, above, middle))

    def _slope(self, raw: Values) -> Values:
        if not self.straight_through:
            return super()._slope(raw)
        # What the backward pass lets through depends on the gradient; the slope is the value's.
        log_sigma = self.scale._log_sigma(raw)
        inside = (log_sigma >= self.low) & (log_sigma <= self.high)
        return jnp.where(inside, self.scale._slope(raw), 0.0)

    def _raw_of(self, sigma: Values) -> Values:
        log_sigma = jnp.log(sigma)
        if self.hard or self.straight_through:
            return self.scale._raw_of(sigma)
        inner = (
            self.low
            + jnp.log(jnp.expm1(log_sigma - self.low))
            - jnp.log(-jnp.expm1(log_sigma - self.high))
        )
        return self.scale._raw_of(jnp.exp(inner))


def _smooth_clamp(log_sigma: float, clamp: Clamped) -> np.ndarray:
    """The smooth clamp in float64 on the host, for the bounds; exact limits at ±infinity."""
    low, high = np.asarray(clamp.low, float), np.asarray(clamp.high, float)
    if math.isinf(log_sigma):
        return low if log_sigma < 0 else high
    return low + np.logaddexp(0, log_sigma - low) - np.logaddexp(0, log_sigma - high)


@jax.custom_vjp
def _inward_clip(log_sigma: Values, low: Values, high: Values) -> Values:
    return jnp.clip(log_sigma, low, high)


def _inward_clip_forward(log_sigma: Values, low: Values, high: Values):
    return jnp.clip(log_sigma, low, high), (log_sigma < low, log_sigma > high, low, high)


def _inward_clip_backward(residuals, gradient):
    below, above, low, high = residuals
    # Descent moves against the gradient: from above the bound it must be positive to lead inward.
    outward = (below & (gradient > 0)) | (above & (gradient < 0))
    return jnp.where(outward, 0.0, gradient), jnp.zeros_like(low), jnp.zeros_like(high)


_inward_clip.defvjp(_inward_clip_forward, _inward_clip_backward)


class Floored(Scale):
    """σ + minimum, or √(σ² + minimum) with `of="variance"`: another scale with a lower bound."""

    scale: Scale
    minimum: Bound = eqx.field(converter=as_bound)
    of: str = eqx.field(static=True, default="sigma")
    is_convex: ClassVar[bool] = False
    reference: ClassVar[str] = "NVAE (0.01), TensorFlow Probability (1e-5); variance: scvi-tools"

    def __check_init__(self):
        if self.of not in ("sigma", "variance"):
            raise LogvarError(f"floored of={self.of!r}: expected 'sigma' or 'variance'")
        if not np.all(np.asarray(self.minimum) > 0):
            raise LogvarError(f"floored minimum {self.minimum}: expected a positive number")

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        low, high = self.scale.bounds
        if self.of == "sigma":
            return low + self.minimum, high + self.minimum
        minimum = np.asarray(self.minimum)
        return np.sqrt(low**2 + minimum), np.sqrt(np.square(high) + minimum)

    def _log_sigma(self, raw: Values) -> Values:
        factor = 1 if self.of == "sigma" else 2
        minimum = jnp.asarray(self.minimum, raw.dtype)
        inner = factor * self.scale._log_sigma(raw)
        near = jnp.abs(inner) < 0.5
        # Near σ = 1, adding to expm1 keeps the digits that adding logarithms would round away.
        close = jnp.log1p(jnp.expm1(jnp.where(near, inner, 0.0)) + minimum)
        return jnp.where(near, close, jnp.logaddexp(inner, jnp.log(minimum))) / factor

    def _sigma(self, raw: Values) -> Values:
        if self.of == "sigma":
            return self.scale._sigma(raw) + self.minimum
        return jnp.sqrt(self._variance(raw))

    def _variance(self, raw: Values) -> Values:
        if self.of == "sigma":
            return jnp.square(self._sigma(raw))
        return self.scale._variance(raw) + self.minimum

    def _raw_of(self, sigma: Values) -> Values:
        if self.of == "sigma":
            return self.scale._raw_of(sigma - self.minimum)
        return self.scale._raw_of(jnp.sqrt(jnp.square(sigma) - self.minimum))
