"""The Normal as an exponential family: natural and expectation parameters, KL as a Bregman
divergence.

p(z) = exp(⟨η, T(z)⟩ − A(η)) with T(z) = (z, z²). Neither pair of parameters is (μ, σ²), and
neither is (μ, σ): see docs/exponential-family.md.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar import scales
from logvar.distributions.normal import HALF_LOG_TWO_PI, Normal
from logvar.scales import Scale

Values = Float[Array, "..."]


class Natural(NamedTuple):
    """η = (μ/σ², −1/(2σ²)), which add when densities multiply. The second is negative."""

    first: Values
    second: Values


class Expectation(NamedTuple):
    """m = E[T(z)] = (μ, μ² + σ²), which average when data are averaged."""

    first: Values
    second: Values


def natural(normal: Normal) -> Natural:
    """Return the natural parameters of a Normal, without dividing by σ² itself.

    Example:
        >>> import logvar
        >>> from logvar.distributions.exponential_family import natural
        >>> [float(value) for value in natural(logvar.Normal(3.0, 2.0**0.5, "stdplus"))][1] < 0
        True
    """
    precision = jnp.exp(-2 * normal.log_sigma)
    return Natural(normal.mean * precision, -0.5 * precision)


def expectation(normal: Normal) -> Expectation:
    """Return the expectation parameters of a Normal."""
    variance = normal.variance
    return Expectation(
        jnp.broadcast_to(normal.mean, variance.shape), jnp.square(normal.mean) + variance
    )


def from_natural(parameters: Natural, scale: str | Scale = "log-variance") -> Normal:
    """Return the Normal with these natural parameters, its raw output under `scale`.

    Raises:
        LogvarError: the scale cannot reach a concrete σ, or the second parameter is not negative.
    """
    first, second = parameters
    return _normal(-0.5 * first / second, jnp.sqrt(-0.5 / second), scale)


def from_expectation(parameters: Expectation, scale: str | Scale = "log-variance") -> Normal:
    """Return the Normal with these expectation parameters, its raw output under `scale`.

    σ² = m₂ − m₁² cancels where σ ≪ |μ|: in float32 it has no digits left below σ ≈ 3e-4·|μ|.

    Raises:
        LogvarError: the scale cannot reach a concrete σ, or m₂ does not exceed m₁².
    """
    first, second = parameters
    return _normal(first, jnp.sqrt(second - jnp.square(first)), scale)


def _normal(mean: Values, sigma: Values, scale: str | Scale) -> Normal:
    found = scales.get(scale)
    return Normal(mean, found.raw(sigma), found)


def log_partition(parameters: Natural) -> Values:
    """A(η) = −η₁²/(4η₂) − ½ log(−2η₂) + ½ log 2π; its gradient is the expectation parameters."""
    first, second = parameters
    return -0.25 * jnp.square(first) / second - 0.5 * jnp.log(-2 * second) + HALF_LOG_TWO_PI


def bregman_kl(q: Normal, p: Normal) -> Values:
    """KL(q ‖ p) = A(η_p) − A(η_q) − ⟨m_q, η_p − η_q⟩, in nats.

    This is the divergence that A generates, with its arguments swapped. It is here to be read and
    tested: numbers of the size of μ²/σ² cancel in it, which `Normal.kl` avoids.
    """
    eta_q, eta_p, m_q = natural(q), natural(p), expectation(q)
    inner = sum(m * (b - a) for m, a, b in zip(m_q, eta_q, eta_p, strict=True))
    return log_partition(eta_p) - log_partition(eta_q) - inner
