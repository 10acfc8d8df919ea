"""log p of counts: Poisson, negative binomial and zero inflation, without cancellation.

The textbook formula of the negative binomial with mean m and inverse dispersion θ,

    log Γ(x+θ) − log Γ(θ) − log Γ(x+1) + θ·log(θ/(θ+m)) + x·log(m/(θ+m)),

subtracts numbers as large as θ·log θ to give one of about 1: in float32 it is 0.4 off at θ = 1e6.
With log Γ(z) = (z − ½)·log z − z + ½·log 2π + s(z), in which s is small, the large parts combine to

    −θ·λ(u) − x·λ(w) + ½·log(θ/(x·(x+θ))) − ½·log 2π + s(x+θ) − s(θ) − s(x),

where λ(v) = v − log(1 + v) ≥ 0, u = (x − m)/(m + θ) and w = −θ·u/x. The linear parts θ·u + x·w are
exactly 0 and are never formed, so the two deviances have one sign and nothing large is subtracted.
Poisson is the limit θ → ∞: −x·λ((m − x)/x) − ½·log(2πx) − s(x). Loader (2000) calls such forms
saddle-point expansions.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.normal import HALF_LOG_TWO_PI

Values = Float[Array, "..."]

_LOW, _HIGH = -40.0, 40.0
"""Logarithms beyond which means and dispersions are replaced by limits of the formulas."""
_SERIES = tuple(1 / (2 * k + 3) for k in range(10))
_NEAR = 0.4
_FRACTION = (1 / 12, 1 / 30, 53 / 210, 195 / 371, 22999 / 22737, 29944523 / 19733142)
"""s(z) = a₀/(z + a₁/(z + a₂/(z + …))), Stieltjes' continued fraction."""
_NORMAL_FROM = 1e4


class Positive(NamedTuple):
    """A positive quantity and its logarithm, each rounded once.

    Gradients go through the logarithm.
    """

    value: Values
    log: Values


@jax.custom_jvp
def poisson_log_prob(x: Values, mean: Positive) -> Values:
    """x·log m − m − log Γ(x+1) in nats, for x = 0, 1, 2, …

    The derivative in log m is x − m; none is taken in x, which is an integer.
    """
    m, below = jnp.maximum(mean.value, math.exp(_LOW)), jnp.minimum(mean.log - _LOW, 0.0)
    positive = jnp.maximum(x, 1.0)
    deviance = positive * _log_residue((m - positive) / positive, m / positive)
    some = -deviance - 0.5 * jnp.log(positive) - HALF_LOG_TWO_PI - _remainder(positive)
    return jnp.where(x > 0, some + x * below, -mean.value)


@poisson_log_prob.defjvp
def _poisson_jvp(primals, tangents):
    (x, mean), (_, of_mean) = primals, tangents
    return poisson_log_prob(x, mean), (x - mean.value) * of_mean.log


@jax.custom_jvp
def negative_binomial_log_prob(x: Values, mean: Positive, inverse_dispersion: Positive) -> Values:
    """log p of the negative binomial with variance m + m²/θ, in nats, for x = 0, 1, 2, …

    The derivatives are those in log m and log θ; none is taken in x, which is an integer.

    Args:
        x: counts.
        mean: m.
        inverse_dispersion: θ.
    """
    m, theta = _bounded(mean), _bounded(inverse_dispersion)
    positive = jnp.maximum(x, 1.0)
    u, ratio = _contrast(positive, m, theta)
    deviance = theta * _log_residue(u, ratio) + positive * _log_residue(
        -theta * u / positive, m / (m + theta) * ((positive + theta) / positive)
    )
    half_log = 0.5 * jnp.log(theta / (positive + theta) / positive)
    s = _remainder(positive + theta) - _remainder(theta) - _remainder(positive)
    some = -deviance + half_log - HALF_LOG_TWO_PI + s
    # Beyond the bounds, log p is linear in log m and log θ.
    some += x * jnp.minimum(mean.log - _LOW, 0.0) + jnp.minimum(inverse_dispersion.log - _LOW, 0.0)
    log_p = jnp.where(x > 0, some, -theta * jnp.log1p(m / theta))
    return log_p - theta * jnp.maximum(mean.log - _HIGH, 0.0)


@negative_binomial_log_prob.defjvp
def _negative_binomial_jvp(primals, tangents):
    (x, mean, inverse), (_, of_mean, of_inverse) = primals, tangents
    m, theta = _bounded(mean), _bounded(inverse)
    u, ratio = _contrast(x, m, theta)
    # d/d log θ = θ·(ψ(x+θ) − ψ(θ) + log(θ/(θ+m)) − u), with ψ(z) = log z − 1/(2z) + s′(z).
    total = x + theta
    slope = -theta * _log_residue(u, ratio) + 0.5 * x / total
    slope += theta / total * _remainder_slope(total) - _remainder_slope(theta)
    tangent = theta * u * of_mean.log + slope * of_inverse.log
    return negative_binomial_log_prob(x, mean, inverse), tangent


@jax.custom_jvp
def negative_binomial_log_prob_zero(mean: Positive, inverse_dispersion: Positive) -> Values:
    """log p(0) = −θ·log(1 + m/θ) of the negative binomial, in nats."""
    m, theta = _bounded(mean), _bounded(inverse_dispersion)
    return -theta * (jnp.log1p(m / theta) + jnp.maximum(mean.log - _HIGH, 0.0))


@negative_binomial_log_prob_zero.defjvp
def _negative_binomial_zero_jvp(primals, tangents):
    (mean, inverse), (of_mean, of_inverse) = primals, tangents
    m, theta = _bounded(mean), _bounded(inverse)
    u = -m / (m + theta)
    slope = -theta * _log_residue(u, theta / (m + theta))
    tangent = theta * u * of_mean.log + slope * of_inverse.log
    return negative_binomial_log_prob_zero(mean, inverse), tangent


def zero_inflated_log_prob(x: Values, log_p: Values, log_p_zero: Values, logit: Values) -> Values:
    """log p where x is 0 with probability π = sigmoid(logit), and a count otherwise.

    Args:
        x: counts.
        log_p: log p(x) of the count.
        log_p_zero: log p(0) of the count.
        logit: log(π/(1 − π)).
    """
    # p(0) = 1 − (1 − π)·(1 − p₀): by log1p while p₀ is near 1, otherwise by log-sum-exp.
    log_count = jax.nn.log_sigmoid(-logit)
    near = log_p_zero > -1
    by_difference = jnp.log1p(jnp.exp(log_count) * jnp.expm1(jnp.where(near, log_p_zero, 0.0)))
    by_sum = jnp.logaddexp(jax.nn.log_sigmoid(logit), log_count + log_p_zero)
    return jnp.where(x > 0, log_count + log_p, jnp.where(near, by_difference, by_sum))


def sample_poisson(key: PRNGKeyArray, rate: Values) -> Values:
    """Draw counts, as floating-point numbers.

    Above a rate of 10,000 they are rounded draws of a Normal with the Poisson's variance and
    skewness: a rejection step in float32 would be less exact there, and integers end at 2³¹.
    """
    by_rejection, by_normal = jax.random.split(key)
    small = jax.random.poisson(by_rejection, jnp.minimum(rate, _NORMAL_FROM))
    n = jax.random.normal(by_normal, rate.shape, rate.dtype)
    large = jnp.round(rate + jnp.sqrt(rate) * n + (jnp.square(n) - 1) / 6)
    return jnp.where(rate < _NORMAL_FROM, small.astype(rate.dtype), large)


def sample_negative_binomial(
    key: PRNGKeyArray, mean: Positive, inverse_dispersion: Positive
) -> Values:
    """Draw counts of a Poisson whose rate is m·Gamma(θ)/θ, as floating-point numbers."""
    of_gamma, of_poisson = jax.random.split(key)
    theta = _bounded(inverse_dispersion)
    # In logarithms: a Gamma variable of θ = 0.01 is often below the smallest float32.
    log_gamma = jax.random.loggamma(of_gamma, jnp.broadcast_to(theta, mean.log.shape))
    log_rate = mean.log + log_gamma - jnp.log(theta)
    return sample_poisson(of_poisson, jnp.exp(jnp.minimum(log_rate, 2 * _HIGH)))


def _bounded(quantity: Positive) -> Values:
    return jnp.clip(quantity.value, math.exp(_LOW), math.exp(_HIGH))


def _contrast(x: Values, m: Values, theta: Values) -> tuple[Values, Values]:
    """Return u = (x − m)/(m + θ) and 1 + u."""
    return (x - m) / (m + theta), (x + theta) / (m + theta)


def _log_residue(v: Values, one_plus: Values) -> Values:
    """Return λ(v) = v − log(1 + v) for v > −1, given 1 + v as well, which v near −1 has lost.

    With r = v/(2 + v), log(1 + v) = 2·(r + r³/3 + r⁵/5 + …) and v − 2r = r·v.
    """
    near = jnp.abs(v) < _NEAR
    small = jnp.where(near, v, 0.0)
    r = small / (2 + small)
    square, series = r * r, jnp.zeros_like(r)
    for coefficient in reversed(_SERIES):
        series = coefficient + square * series
    far = v - jnp.log(jnp.where(near, 1.0, one_plus))
    return jnp.where(near, r * small - 2 * r * square * series, far)


def _steps(z: Values) -> int:
    """The number of steps z → z + 1 after which the continued fraction is exact to rounding."""
    return 8 if z.dtype == jnp.float64 else 2


def _fraction(z: Values) -> Values:
    """s(z) by its continued fraction."""
    below = jnp.zeros_like(z)
    for a in reversed(_FRACTION):
        below = a / (z + below)
    return below


def _remainder(z: Values) -> Values:
    """s(z) = log Γ(z) − (z − ½)·log z + z − ½·log 2π, by s(z) = s(z+1) + (z+½)·log(1+1/z) − 1."""
    steps = _steps(z)
    few, shift = z < steps, jnp.zeros_like(z)
    for k in range(steps):
        y = jnp.where(few, z + k, 1.0)
        shift += (y + 0.5) * jnp.log(1 + 1 / y) - 1
    return jnp.where(few, shift, 0.0) + _fraction(jnp.where(few, z + steps, z))


def _remainder_slope(z: Values) -> Values:
    """z·s′(z), which is finite as z → 0."""
    steps = _steps(z)
    few, shift = z < steps, jnp.zeros_like(z)
    for k in range(steps):
        small = jnp.where(few, z, 1.0)
        y = small + k
        shift += small * jnp.log(1 + 1 / y) - (y + 0.5) / (y + 1) * (small / y)
    high = jnp.where(few, z + steps, z)
    slope = jax.jvp(_fraction, (high,), (jnp.ones_like(high),))[1]
    return jnp.where(few, shift, 0.0) + z * slope
