"""The contract of a distribution of one example's latents."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

Latents = Float[Array, "latent"]
Groups = Float[Array, "groups"]


class Distribution(eqx.Module):
    """A joint density on the latents z of one example, in nats.

    Log-densities come in groups whose sum is log p(z): one group per latent if the density factors
    by the chain rule, p(z) = Π p(zᵢ | z₁ … zᵢ₋₁), and a single group otherwise. A new distribution
    is a class with `log_prob`, and with `draw` for a posterior or `sample` for a prior, and a line
    in `logvar.distributions.kl` if a KL has a closed form.
    """

    by_latent: ClassVar[bool] = False
    """Whether log-densities have one group per latent."""

    @abc.abstractmethod
    def log_prob(self, z: Latents) -> Float[Array, ""]:
        """log p(z)."""

    def log_prob_groups(self, z: Latents) -> Groups:
        """log p(z) in groups, whose sum is `log_prob`."""
        return self.log_prob(z)[None]

    # As a posterior.

    def draw(self, noise: PyTree) -> Latents:
        """Return z as a differentiable function of noise (the reparameterization trick)."""
        raise NotImplementedError(f"{type(self).__name__} does not draw from noise")

    def log_prob_groups_of_noise(self, noise: PyTree) -> Groups:
        """Return log p(draw(noise)) in groups; override it if it can be computed without z, whose
        digits are lost for σ ≪ |μ|."""
        return self.log_prob_groups(self.draw(noise))

    # As a prior.

    def sample(self, key: PRNGKeyArray) -> Latents:
        """Draw one z."""
        raise NotImplementedError(f"{type(self).__name__} does not sample")


def total(groups: Float[Array, "*batch groups"]) -> Float[Array, "*batch"]:
    """The sum over groups."""
    return jnp.sum(groups, axis=-1)
