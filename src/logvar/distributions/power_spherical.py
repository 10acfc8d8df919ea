"""The power spherical distribution on the unit sphere, and the uniform one (no Bessel function).

With t = μᵀz and b = (1 + t)/2 the density is q(z) = b^κ·e^{S(κ)}/area, where the sphere in D
dimensions has area 2·π^{D/2}/Γ(D/2), and with β = (D − 1)/2

    S(κ) = log Γ(2β + κ) − log Γ(β + κ) − (log Γ(2β) − log Γ(β)).

Differences of log Γ have no digits in float32. For an integer β, S is a sum of positive terms:
Σ log(1 + κ/(β + j)) over j = 0 … β − 1. For a half-integer β the same sum stops half a step early,
and its end is an alternating series in steps of ½, summed by Boole's formula. The KL to the uniform
distribution, S − κ·S′, is the same sum of φ(v) = log(1 + v) − v/(1 + v) ≥ 0 with v = κ/(β + j).
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution, Groups, Latents
from logvar.scales import Scale
from logvar.scales.numerics import expm1_minus

Scalar = Float[Array, ""]
Noise = tuple[Float[Array, "tangent"], PRNGKeyArray]

_BOOLE_FROM = 8
"""Boole's formula is used from here on, with an error of 2e-8."""


def log_area(latent_dim: int) -> float:
    """Log of the area of the unit sphere in `latent_dim` dimensions.

    Example:
        >>> from logvar.distributions.power_spherical import log_area
        >>> round(log_area(3), 4)  # 4π
        2.531
    """
    return math.log(2) + 0.5 * latent_dim * math.log(math.pi) - math.lgamma(0.5 * latent_dim)


class UniformSphere(Distribution):
    """The uniform distribution on the unit sphere, as a density with respect to its area."""

    latent_dim: int = eqx.field(static=True)

    def log_prob(self, z: Latents) -> Scalar:
        return jnp.full((), -log_area(self.latent_dim), z.dtype)

    def sample(self, key: PRNGKeyArray) -> Latents:
        return direction(jax.random.normal(key, (self.latent_dim,)))


class PowerSpherical(Distribution):
    """q(z) ∝ (1 + μᵀz)^κ on the unit sphere (De Cao & Aziz 2020, arXiv 2006.04437), κ = σ(raw).

    Args:
        mean: any vector but 0; μ is its direction.
        raw: (1,), the raw output of κ.
        scale: how raw becomes κ > 0.
    """

    mean: Latents
    raw: Float[Array, "1"]
    scale: Scale

    @property
    def kappa(self) -> Scalar:
        """The concentration κ."""
        return self.scale.sigma(self.raw)[0]

    @property
    def mean_direction(self) -> Latents:
        """μ."""
        return direction(self.mean)

    def draw(self, noise: Noise) -> Latents:
        normal, _ = noise
        gamma, other = self._gammas(noise)
        # b = gamma/(gamma + other), t = 2b − 1. The tangent normal/‖normal‖ is multiplied by
        # √(1 − t²) = 2·√(gamma·other)/(gamma + other), in which ‖normal‖ = √(2·other) cancels.
        along = (gamma - other) / (gamma + other)
        across = jnp.sqrt(2 * gamma) / (gamma + other) * normal
        return _turned(self.mean_direction, along, across)

    def log_prob(self, z: Latents) -> Scalar:
        mean = self.mean_direction
        # b and 1 − b as squares of distances: 1 + μᵀz cancels at one end, 1 − μᵀz at the other.
        b = 0.25 * jnp.sum(jnp.square(z + mean))
        rest = 0.25 * jnp.sum(jnp.square(z - mean))
        near = rest < 0.5
        log_b = jnp.where(
            near, jnp.log1p(-jnp.where(near, rest, 0.0)), jnp.log(jnp.where(near, 1.0, b))
        )
        return self._density(log_b)

    def log_prob_groups_of_noise(self, noise: Noise) -> Groups:
        gamma, other = self._gammas(noise)
        return self._density(-jnp.log1p(other / gamma))[None]

    def _density(self, log_b: Scalar) -> Scalar:
        latent_dim = self.mean.shape[-1]
        return self.kappa * log_b + rise(self.kappa, latent_dim) - log_area(latent_dim)

    def _gammas(self, noise: Noise) -> tuple[Scalar, Scalar]:
        """Draws of Gamma(β + κ) and Gamma(β), of which b is the share of the first.

        The second is half the squared length of the noise; the first is differentiable in κ, by
        the implicit derivative of its distribution function (Figurnov et al. 2018).
        """
        normal, key = noise
        half = 0.5 * normal.shape[-1]
        # In float32, as all noise is drawn: a row scored in float64 has the draw that it has here.
        alpha = (half + self.kappa).astype(jnp.float32)
        gamma = jax.random.gamma(key, alpha, dtype=jnp.float32).astype(normal.dtype)
        return gamma, 0.5 * jnp.sum(jnp.square(normal))

    def kl_to_uniform(self) -> Scalar:
        """log area − H, in nats."""
        return spread(self.kappa, self.mean.shape[-1])

    def entropy(self) -> Scalar:
        """H = log area − KL to the uniform distribution."""
        return log_area(self.mean.shape[-1]) - self.kl_to_uniform()

    def sample(self, key: PRNGKeyArray) -> Latents:
        shape = (self.mean.shape[-1] - 1,)
        noise = jax.random.normal(key, shape, self.mean.dtype)
        return self.draw((noise, jax.random.fold_in(key, 1)))


def rise(kappa: Scalar, latent_dim: int) -> Scalar:
    """S(κ): log of the ratio of the density at its mode to the uniform density."""
    return _sum_over_steps(
        kappa,
        latent_dim,
        lambda v: jnp.log1p(v),
        lambda x: -kappa / (x * (x + kappa)),
        lambda x: 2 / (x + kappa) ** 3 - 2 / x**3,
    )


def spread(kappa: Scalar, latent_dim: int) -> Scalar:
    """S(κ) − κ·S′(κ): the KL to the uniform distribution."""
    return _sum_over_steps(
        kappa,
        latent_dim,
        lambda v: expm1_minus(-jnp.log1p(v)),
        lambda x: -jnp.square(kappa / (x + kappa)) / x,
        lambda x: 2 / (x + kappa) ** 3 - 2 / x**3 + 6 * kappa / (x + kappa) ** 4,
    )


def _sum_over_steps(
    kappa: Scalar,
    latent_dim: int,
    term: Callable[[Array], Array],
    slope: Callable[[float], Array],
    third: Callable[[float], Array],
) -> Scalar:
    """Return Σ f(β + j) − f(2β + j) over j = 0, 1, 2, … for f(x) = term(κ/x).

    Args:
        kappa: κ.
        latent_dim: D; β = (D − 1)/2.
        term: f as a function of κ/x.
        slope: f′ as a function of x.
        third: f‴ as a function of x.
    """
    beta = 0.5 * (latent_dim - 1)
    if latent_dim % 2:  # the sums differ in their first β terms alone
        first = jnp.asarray(beta + np.arange(round(beta)), kappa.dtype)
        return jnp.sum(term(kappa / first))
    count = max(int(beta), _BOOLE_FROM)
    start = beta + count
    plus = beta + np.arange(count)
    minus = np.arange(2 * beta, start)  # the others end half a step after `plus` does
    steps = jnp.asarray(np.concatenate([plus, minus, [start]]), kappa.dtype)
    signs = np.concatenate([np.ones(len(plus)), -np.ones(len(minus)), [0.5]])
    tail = third(start) / 384 - slope(start) / 8
    return jnp.sum(jnp.asarray(signs, kappa.dtype) * term(kappa / steps)) + tail


def direction(vector: Float[Array, "*rows latent"]) -> Float[Array, "*rows latent"]:
    """Return the unit vector of this direction; the first axis for a vector of zeros."""
    largest = jnp.max(jnp.abs(vector), axis=-1, keepdims=True)
    there = largest > 0
    first = jnp.zeros_like(vector).at[..., 0].set(1.0)
    # Its own size does not matter, so it is no part of the derivative.
    whole = jnp.where(there, vector / jax.lax.stop_gradient(jnp.where(there, largest, 1.0)), first)
    return whole / jnp.sqrt(jnp.sum(jnp.square(whole), axis=-1, keepdims=True))


def _turned(mean: Latents, along: Scalar, across: Float[Array, "tangent"]) -> Latents:
    """Return (along, across) reflected so that the first axis becomes μ.

    The mirror is orthogonal to μ + s·e₁ with s the sign of μ₁, never a short vector. It takes e₁ to
    −s·μ, so the part along it starts as −s·along.
    """
    sign = jnp.where(mean[0] < 0, -1.0, 1.0).astype(mean.dtype)
    start = jnp.concatenate([(-sign * along)[None], across])
    normal = mean.at[0].add(sign)
    return start - normal * (jnp.vdot(normal, start) / (1 + sign * mean[0]))
