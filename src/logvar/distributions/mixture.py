"""Mixtures of diagonal Normals."""

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, logsumexp, softmax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution, Latents
from logvar.distributions.normal import Normal
from logvar.scales import Scale


class NormalMixture(Distribution):
    """p(z) = Σ π_k N(z; m_k, diag σ_k²), with π = softmax(logits) and σ_k = σ(raw_k).

    Args:
        logits: (components,), the logits of the components' weights.
        means: m_k, (components, latent).
        raws: the raw outputs of σ_k, (components, latent).
        scale: how raw becomes σ.
    """

    logits: Float[Array, "components"]
    means: Float[Array, "components latent"]
    raws: Float[Array, "components latent"]
    scale: Scale

    def log_prob(self, z: Latents) -> Float[Array, ""]:
        return logsumexp(self._joint(z))

    def responsibilities(self, z: Latents) -> Float[Array, "components"]:
        """Return p(k | z): how much of the density at z each component accounts for."""
        return softmax(self._joint(z))

    def _joint(self, z: Latents) -> Float[Array, "components"]:
        """log π_k + log N(z; m_k, diag σ_k²)."""
        of_each = jnp.sum(Normal(self.means, self.raws, self.scale).log_prob(z), axis=-1)
        return log_softmax(self.logits) + of_each

    def sample(self, key: PRNGKeyArray) -> Latents:
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, self.logits)
        return Normal(self.means[k], self.raws[k], self.scale).sample(noise)
