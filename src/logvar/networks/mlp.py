"""Multilayer perceptrons: the default for tables and for small images."""

import math

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.networks.base import Network, NetworkSpec, Shapes
from logvar.networks.layers import Dense, keys_of
from logvar.registry import setting

Example = Float[Array, "*shape"]
Latents = Float[Array, "latent"]
Outputs = Float[Array, "outputs"]


class MLPEncoder(eqx.Module):
    """x ↦ the posterior's outputs: dense layers with SiLU, then one matrix for all heads."""

    hidden: list[Dense]
    head: Dense

    def __init__(
        self, shape: tuple[int, ...], outputs: int, widths: tuple[int, ...], *, key: PRNGKeyArray
    ):
        keys = keys_of(key, len(widths) + 1)
        sizes = (math.prod(shape), *widths)
        self.hidden = [Dense(sizes[i], sizes[i + 1], key=keys[i]) for i in range(len(widths))]
        self.head = Dense(sizes[-1], outputs, key=keys[-1])

    def __call__(self, x: Example) -> Outputs:
        h = x.reshape(-1)
        for layer in self.hidden:
            h = layer.activated(h)
        return self.head(h)


class MLPDecoder(eqx.Module):
    """z ↦ the likelihood's outputs: the encoder's widths in reverse order."""

    hidden: list[Dense]
    head: Dense
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        widths: tuple[int, ...],
        *,
        key: PRNGKeyArray,
    ):
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


class MLP(NetworkSpec):
    """Dense layers with SiLU; the decoder has the encoder's widths in reverse order.

    Args:
        hidden: widths of the hidden layers.
    """

    hidden: tuple[int, ...] = setting((256, 128), help="widths of the hidden layers", at_least=1)

    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        keys = keys_of(key, 2)
        return (
            MLPEncoder(shapes.example, shapes.encoder_outputs, self.hidden, key=keys[0]),
            MLPDecoder(shapes.outputs, shapes.latent_dim, self.hidden, key=keys[1]),
        )
