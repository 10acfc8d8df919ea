"""Multilayer perceptrons: the default for tables and for small images."""

import math

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.networks.base import Network, NetworkSpec, Shapes
from logvar.networks.initialization import INITIALIZATIONS
from logvar.networks.layers import ACTIVATIONS, Dense, dense_layers, keys_of
from logvar.registry import setting

Example = Float[Array, "*shape"]
Latents = Float[Array, "latent"]
Outputs = Float[Array, "outputs"]


class MLPEncoder(eqx.Module):
    """x ↦ the posterior's outputs: dense layers, then one matrix for all heads."""

    hidden: list[Dense]
    head: Dense
    activation: str = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], outputs: int, network: "MLP", *, key: PRNGKeyArray):
        sizes = (math.prod(shape), *network.hidden, outputs)
        *self.hidden, self.head = dense_layers(
            sizes, key=key, initialization=network.initialization
        )
        self.activation = network.activation

    def __call__(self, x: Example) -> Outputs:
        h = x.reshape(-1)
        for layer in self.hidden:
            h = layer.activated(h, self.activation)
        return self.head(h)


class MLPDecoder(eqx.Module):
    """z ↦ the likelihood's outputs: the encoder's widths in reverse order."""

    hidden: list[Dense]
    head: Dense
    shape: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, network: "MLP", *, key: PRNGKeyArray
    ):
        sizes = (latent_dim, *reversed(network.hidden), math.prod(shape))
        *self.hidden, self.head = dense_layers(
            sizes, key=key, initialization=network.initialization
        )
        self.shape = shape
        self.activation = network.activation

    def __call__(self, z: Latents) -> Float[Array, "..."]:
        h = z
        for layer in self.hidden:
            h = layer.activated(h, self.activation)
        return self.head(h).reshape(self.shape)


class MLP(NetworkSpec):
    """Dense layers; the decoder has the encoder's widths in reverse order.

    Args:
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        initialization: how the weights start; the variance of a kernel is 1/(3·fan_in) for
            "pytorch", 1/fan_in for "lecun", 2/(fan_in + fan_out) for "glorot", 2/fan_in for "he".
    """

    hidden: tuple[int, ...] = setting((256, 128), help="widths of the hidden layers", at_least=1)
    activation: str = setting(
        "silu", help="activation of the hidden layers", choices=tuple(ACTIVATIONS)
    )
    initialization: str = setting(
        "pytorch", help="how the weights start", choices=tuple(INITIALIZATIONS)
    )

    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        keys = keys_of(key, 2)
        return (
            MLPEncoder(shapes.example, shapes.encoder_outputs, self, key=keys[0]),
            MLPDecoder(shapes.outputs, shapes.latent_dim, self, key=keys[1]),
        )
