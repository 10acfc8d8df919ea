"""Normals on all latents of an example: standard, diagonal, and with a full covariance."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution, Groups, Latents
from logvar.distributions.normal import HALF_LOG_TWO_PI, Normal
from logvar.scales import Scale

Noise = Float[Array, "latent"]


class ByLatent(Distribution):
    """A density that factors by the chain rule, with a group for each latent."""

    by_latent: ClassVar[bool] = True

    @abc.abstractmethod
    def log_prob_groups(self, z: Latents) -> Groups: ...

    def log_prob(self, z: Latents) -> Float[Array, ""]:
        return jnp.sum(self.log_prob_groups(z))


class StandardNormal(ByLatent):
    """N(0, I)."""

    latent_dim: int = eqx.field(static=True)

    def log_prob_groups(self, z: Latents) -> Groups:
        return -0.5 * jnp.square(z) - HALF_LOG_TWO_PI

    def sample(self, key: PRNGKeyArray) -> Latents:
        return jax.random.normal(key, (self.latent_dim,))


class DiagonalNormal(ByLatent):
    """z = μ + σ(raw) ⊙ ε: one Normal for each latent."""

    mean: Latents
    raw: Latents
    scale: Scale

    @property
    def each(self) -> Normal:
        """The Normals of the latents, elementwise."""
        return Normal(self.mean, self.raw, self.scale)

    @property
    def variance(self) -> Latents:
        """The variances of the latents."""
        return self.each.variance

    def draw(self, noise: Noise) -> Latents:
        return self.each.reparameterize(noise)

    def log_prob_groups(self, z: Latents) -> Groups:
        return self.each.log_prob(z)

    def log_prob_groups_of_noise(self, noise: Noise) -> Groups:
        return self.each.log_prob_of_noise(noise)

    def sample(self, key: PRNGKeyArray) -> Latents:
        return self.each.sample(key)


class FullNormal(ByLatent):
    """z = μ + Lε with L lower triangular; its diagonal is σ(raw), the entries below are free.

    log q(z) = −½‖ε‖² − Σ log σᵢ − ½D log 2π. A latent's group is its conditional density given the
    latents before it, with standard deviation σᵢ.

    Args:
        mean: μ, (latent,).
        raw: the raw outputs of L's diagonal, (latent,).
        lower: the entries below the diagonal, row by row, (latent·(latent − 1)/2,).
        scale: how raw becomes σ.
    """

    mean: Latents
    raw: Latents
    lower: Float[Array, "below"]
    scale: Scale

    @property
    def strictly_lower(self) -> Float[Array, "latent latent"]:
        """L without its diagonal."""
        latent_dim = self.mean.shape[-1]
        rows, columns = np.tril_indices(latent_dim, -1)
        zeros = jnp.zeros((latent_dim, latent_dim), self.lower.dtype)
        return zeros.at[rows, columns].set(self.lower)

    @property
    def cholesky(self) -> Float[Array, "latent latent"]:
        """L, the lower triangular factor of the covariance L·Lᵀ."""
        return self.strictly_lower + jnp.diag(self.scale.sigma(self.raw))

    @property
    def covariance(self) -> Float[Array, "latent latent"]:
        """L·Lᵀ."""
        return self.cholesky @ self.cholesky.T

    @property
    def _of_diagonal(self) -> Normal:
        return Normal(self.mean, self.raw, self.scale)

    def draw(self, noise: Noise) -> Latents:
        return self._of_diagonal.reparameterize(noise) + self.strictly_lower @ noise

    def log_prob_groups(self, z: Latents) -> Groups:
        return self.log_prob_groups_of_noise(
            solve_triangular(self.cholesky, z - self.mean, lower=True)
        )

    def log_prob_groups_of_noise(self, noise: Noise) -> Groups:
        return self._of_diagonal.log_prob_of_noise(noise)

    def sample(self, key: PRNGKeyArray) -> Latents:
        return self.draw(jax.random.normal(key, self.mean.shape, self.mean.dtype))

    def entropy(self) -> Float[Array, ""]:
        """½D log 2πe + Σ log σᵢ."""
        return jnp.sum(self._of_diagonal.entropy())
