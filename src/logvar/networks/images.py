"""The default convolutional pair, for images of any size from 8 × 8 up.

Unlike the tutorial's pair it has a dense layer on either side of the latents, "same" padding and
SiLU, and its last layer is strided. Measured on MNIST at the tutorial's settings (two latents, 4
epochs): test ELBO −163.2 against −165.2 nats, at 1.24 × the time per epoch.
"""

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
WIDTH = 256


class ImageEncoder(eqx.Module):
    """Two strided 3 × 3 convolutions (32, 64; same; SiLU), a dense layer, then the heads."""

    first: Convolution
    second: Convolution
    dense: Dense
    head: Dense
    image: tuple[int, int, int] = eqx.field(static=True)

    def __init__(self, image: tuple[int, int, int], outputs: int, *, key: PRNGKeyArray):
        keys = keys_of(key, 4)
        height, width = (-(-size // 4) for size in image[:2])
        self.first = Convolution(image[2], 32, 2, "same", key=keys[0])
        self.second = Convolution(32, 64, 2, "same", key=keys[1])
        self.dense = Dense(height * width * 64, WIDTH, key=keys[2], initialization="lecun")
        self.head = Dense(WIDTH, outputs, key=keys[3], initialization="lecun")
        self.image = image

    def __call__(self, x: Example) -> Outputs:
        h = jax.nn.silu(self.first(x.reshape(self.image)))
        h = jax.nn.silu(self.second(h))
        h = self.dense.activated(h.reshape(-1))
        return self.head(h)


class ImageDecoder(eqx.Module):
    """Two dense layers, two transposed 3 × 3 convolutions; cropped if the size needs it."""

    dense: Dense
    wide: Dense
    first: TransposedConvolution
    head: TransposedConvolution
    image: tuple[int, int, int] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    heads: int = eqx.field(static=True)

    def __init__(
        self,
        image: tuple[int, int, int],
        shape: tuple[int, ...],
        latent_dim: int,
        heads: int = 1,
        *,
        key: PRNGKeyArray,
    ):
        keys = keys_of(key, 4)
        height, width = (-(-size // 4) for size in image[:2])
        self.dense = Dense(latent_dim, WIDTH, key=keys[0], initialization="lecun")
        self.wide = Dense(WIDTH, height * width * 64, key=keys[1], initialization="lecun")
        self.first = TransposedConvolution(64, 32, 2, key=keys[2])
        self.head = TransposedConvolution(32, heads * image[2], 2, key=keys[3])
        self.image = image
        self.shape = shape
        self.heads = heads

    def __call__(self, z: Latents) -> Float[Array, "..."]:
        height, width, _ = self.image
        h = self.wide.activated(self.dense.activated(z))
        h = h.reshape(-(-height // 4), -(-width // 4), 64)
        h = jax.nn.silu(self.first(h))
        return by_head(self.head(h)[:height, :width], self.heads, self.shape)


class Conv(NetworkSpec):
    """Convolutions for images of at least 8 × 8."""

    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        shape, heads = shapes.x, shapes.image_heads("conv")
        if len(shape) not in (2, 3) or min(shape[:2]) < 8:
            raise LogvarError(
                f"network 'conv' got examples of shape {shape}: expected images (height, width) "
                "or (height, width, channels) of at least 8 × 8; reshape X, or use network='mlp'"
            )
        image = (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)
        seen = (*image[:2], shapes.example[2] if len(shapes.example) == 3 else 1)
        keys = keys_of(key, 2)
        return (
            ImageEncoder(seen, shapes.encoder_outputs, key=keys[0]),
            ImageDecoder(image, shape, shapes.latent_dim, heads, key=keys[1]),
        )
