"""Priors over one example's latents."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.normal import HALF_LOG_TWO_PI, Normal

Latents = Float[Array, "latent"]


class Prior(eqx.Module):
    """p(z) on one example's latents, elementwise and in nats."""

    @abc.abstractmethod
    def log_prob(self, z: Latents) -> Latents:
        """log p(z) for each latent."""

    @abc.abstractmethod
    def kl(self, posterior: Normal) -> Latents:
        """KL(posterior ‖ prior) for each latent, in closed form."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, latent_dim: int) -> Latents:
        """Draw the latents of one example."""


class StandardNormal(Prior):
    """N(0, 1) for each latent."""

    def log_prob(self, z: Latents) -> Latents:
        return -0.5 * jnp.square(z) - HALF_LOG_TWO_PI

    def kl(self, posterior: Normal) -> Latents:
        return posterior.kl()

    def sample(self, key: PRNGKeyArray, latent_dim: int) -> Latents:
        return jax.random.normal(key, (latent_dim,))
