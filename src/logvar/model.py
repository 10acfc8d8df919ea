"""The model: encoder, posterior, prior, decoder and likelihood, on one example.

A β-VAE is not another model, nor is an importance-weighted one: those are objectives.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar.distributions.likelihood import Likelihood, Outputs
from logvar.distributions.normal import Normal
from logvar.distributions.priors import Prior
from logvar.networks.registry import Network
from logvar.scales import Scale

Example = Float[Array, "*shape"]
Latents = Float[Array, "latent"]


class Model(eqx.Module):
    """p(x, z) = p(z)·p(x | decoder(z)), with q(z | x) = N(mean, σ(raw)²) from the encoder."""

    encoder: Network
    decoder: Network
    prior: Prior
    likelihood: Likelihood
    scale: Scale

    def encode(self, x: Example) -> tuple[Latents, Latents]:
        """The encoder's (mean, raw) for one example."""
        outputs: Any = self.encoder(self.likelihood.standardize(x))
        if isinstance(outputs, (tuple, list)):
            mean, raw = outputs
            return mean, raw
        latent_dim = outputs.shape[0] // 2
        return outputs[:latent_dim], outputs[latent_dim:]

    def posterior(self, x: Example) -> Normal:
        """q(z | x) for one example."""
        return Normal(*self.encode(x), self.scale)

    def decode(self, z: Latents) -> Outputs:
        """The decoder's outputs for one example's latents; two heads come as one array."""
        outputs: Any = self.decoder(z)
        return jnp.stack(outputs) if isinstance(outputs, (tuple, list)) else outputs

    def mean(self, z: Latents) -> Example:
        """E[x | z], in the units that the model sees x in."""
        return self.likelihood.mean(self.decode(z))

    def trainable(self) -> Any:
        """A pytree like self that says which leaves training may change."""
        nothing = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(
            lambda model: (model.encoder, model.decoder, model.likelihood),
            nothing,
            (
                jax.tree.map(eqx.is_inexact_array, self.encoder),
                jax.tree.map(eqx.is_inexact_array, self.decoder),
                self.likelihood.trainable(),
            ),
        )
