"""A mixture of Normals with learned weights, means and spreads."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar import scales
from logvar.distributions.mixture import NormalMixture
from logvar.priors.base import Encode, EncoderInputs, Prior, PriorSpec
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES


class Mixture(PriorSpec):
    """p(z) = Σ π_k N(m_k, diag σ_k²), all learned.

    Its start is close to a standard Normal: π uniform, m_k drawn from N(0, ½I), σ_k² = ½, so that
    the expected density is N(0, I).

    Args:
        components: the number of components.
        scale: how their raw values become σ_k.
    """

    components: int = setting(10, help="Normals; at most the training rows", at_least=1)
    scale: Scale = setting(
        scales.get("log-std"), help="how raw values become the components' σ", part=SCALES
    )

    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "MixturePrior":
        if inputs is not None:
            inputs.check("mixture", self.components)
        shape = (self.components, latent_dim)
        means = math.sqrt(0.5) * jax.random.normal(key, shape)
        raw = jnp.asarray(self.scale.raw(math.sqrt(0.5)), jnp.float32)
        return MixturePrior(jnp.zeros(self.components), means, jnp.full(shape, raw), self.scale)


class MixturePrior(Prior):
    """A mixture with its weights."""

    logits: Float[Array, "components"]
    means: Float[Array, "components latent"]
    raws: Float[Array, "components latent"]
    scale: Scale = eqx.field()

    def given(self, latent_dim: int, encode: Encode, condition: Any = None) -> NormalMixture:
        return NormalMixture(self.logits, self.means, self.raws, self.scale)
