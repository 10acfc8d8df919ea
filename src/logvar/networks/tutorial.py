"""The exact convolutional pair of the TensorFlow CVAE tutorial (28 × 28 × 1)."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.errors import LogvarError
from logvar.networks.base import Network, NetworkSpec, Shapes
from logvar.networks.layers import (
    Convolution,
    Dense,
    TransposedConvolution,
    by_head,
    keys_of,
)

Example = Float[Array, "*shape"]
Latents = Float[Array, "latent"]
Outputs = Float[Array, "outputs"]
IMAGE = (28, 28, 1)
Layer = TypeVar("Layer")


def _as_keras(layer: Callable[..., Layer], *sizes: Any, key: PRNGKeyArray) -> Layer:
    """Return a layer whose weights start as Keras' do."""
    return layer(*sizes, key=key, initialization="glorot")


class TutorialEncoder(eqx.Module):
    """Two strided 3 × 3 convolutions (32, 64; valid; ReLU), then one matrix for the heads."""

    first: Convolution
    second: Convolution
    head: Dense

    def __init__(self, outputs: int, *, key: PRNGKeyArray):
        keys = keys_of(key, 3)
        self.first = _as_keras(Convolution, 1, 32, 2, "valid", key=keys[0])
        self.second = _as_keras(Convolution, 32, 64, 2, "valid", key=keys[1])
        self.head = _as_keras(Dense, 2304, outputs, key=keys[2])

    def __call__(self, x: Example) -> Outputs:
        h = jax.nn.relu(self.first(x.reshape(IMAGE)))
        h = jax.nn.relu(self.second(h))
        return self.head(h.reshape(-1))


class TutorialDecoder(eqx.Module):
    """Dense to 7 × 7 × 32, transposed 3 × 3 convolutions to 64, 32 and 1 channels; logits."""

    dense: Dense
    first: TransposedConvolution
    second: TransposedConvolution
    head: TransposedConvolution
    shape: tuple[int, ...] = eqx.field(static=True)
    heads: int = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int, heads: int = 1, *, key: PRNGKeyArray
    ):
        keys = keys_of(key, 4)
        self.dense = _as_keras(Dense, latent_dim, 1568, key=keys[0])
        self.first = _as_keras(TransposedConvolution, 32, 64, 2, key=keys[1])
        self.second = _as_keras(TransposedConvolution, 64, 32, 2, key=keys[2])
        self.head = _as_keras(TransposedConvolution, 32, heads, 1, key=keys[3])
        self.shape = shape
        self.heads = heads

    def __call__(self, z: Latents) -> Float[Array, "..."]:
        h = jax.nn.relu(self.dense(z)).reshape(7, 7, 32)
        h = jax.nn.relu(self.first(h))
        h = jax.nn.relu(self.second(h))
        return by_head(self.head(h), self.heads, self.shape)


class Tutorial(NetworkSpec):
    """The pair of networks of the TensorFlow CVAE tutorial, for 28 × 28 images."""

    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        shape, heads = shapes.x, shapes.image_heads("tutorial")
        if shape not in (IMAGE, IMAGE[:2], (28 * 28,)):
            raise LogvarError(
                f"network 'tutorial' got examples of shape {shape}: expected 28 × 28 images with "
                "one channel, as the tutorial has; use network='conv' for other sizes"
            )
        if shapes.example != shape:
            raise LogvarError(
                "network 'tutorial' reads 28 × 28 images alone, and these have missing pixels or a "
                "condition: use network='conv'"
            )
        keys = keys_of(key, 2)
        return (
            TutorialEncoder(shapes.encoder_outputs, key=keys[0]),
            TutorialDecoder(shape, shapes.latent_dim, heads, key=keys[1]),
        )
