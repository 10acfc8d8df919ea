"""A mixture of q(z | u) over given inputs u, with equal weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from logvar.distributions.base import Distribution, Latents


class Aggregate(Distribution):
    """p(z) = (1/K)·Σ q(z; code_k).

    It keeps the codes and not K densities: what these share, such as the weights of a flow, is
    there once.

    Args:
        codes: the codes of the components, each leaf (components, …).
        density: returns the density of one code.
    """

    codes: PyTree
    density: Callable[[Any], Distribution]

    @property
    def components(self) -> int:
        """K."""
        return len(jax.tree.leaves(self.codes)[0])

    def log_prob(self, z: Latents) -> Float[Array, ""]:
        each = jax.vmap(lambda code: self.density(code).log_prob(z))(self.codes)
        return logsumexp(each) - jnp.log(jnp.asarray(self.components, each.dtype))

    def responsibilities(self, z: Latents) -> Float[Array, "components"]:
        """Return p(k | z)."""
        return jax.nn.softmax(jax.vmap(lambda code: self.density(code).log_prob(z))(self.codes))

    def sample(self, key: PRNGKeyArray) -> Latents:
        which, noise = jax.random.split(key)
        k = jax.random.randint(which, (), 0, self.components)
        return self.density(jax.tree.map(lambda leaf: leaf[k], self.codes)).sample(noise)
