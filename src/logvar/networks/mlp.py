"""Multilayer perceptrons: the default for tables and for small images."""

import math

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.networks.layers import Dense, keys_of, mean_and_raw

Example = Float[Array, "*shape"]
Latents = Float[Array, "latent"]


class MLPEncoder(eqx.Module):
    """x ↦ (mean, raw): dense layers with SiLU, then one matrix for both heads."""

    hidden: list[Dense]
    head: Dense

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, widths: tuple[int, ...], *, key: PRNGKeyArray
    ):
        keys = keys_of(key, len(widths) + 1)
        sizes = (math.prod(shape), *widths)
        self.hidden = [Dense(sizes[i], sizes[i + 1], key=keys[i]) for i in range(len(widths))]
        self.head = Dense(sizes[-1], 2 * latent_dim, key=keys[-1])

    def __call__(self, x: Example) -> tuple[Latents, Latents]:
        h = x.reshape(-1)
        for layer in self.hidden:
            h = layer.activated(h)
        return mean_and_raw(self.head(h))


class MLPDecoder(eqx.Module):
    """z ↦ raw outputs in the shape of x, once for each head: the encoder's widths backwards."""

    hidden: list[Dense]
    head: Dense
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        widths: tuple[int, ...],
        heads: int = 1,
        *,
        key: PRNGKeyArray,
    ):
        shape = shape if heads == 1 else (heads, *shape)
        keys = keys_of(key, len(widths) + 1)
        sizes = (latent_dim, *reversed(widths))
        self.hidden = [Dense(sizes[i], sizes[i + 1], key=keys[i]) for i in range(len(widths))]
        self.head = Dense(sizes[-1], math.prod(shape), key=keys[-1])
        self.shape = shape

    def __call__(self, z: Latents) -> Float[Array, "..."]:
        h = z
        for layer in self.hidden:
            h = layer.activated(h)
        return self.head(h).reshape(self.shape)
