"""The layers the built-in networks are made of; kernels Glorot-uniform, biases zero."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.convolution import Image, Kernel, Result, convolve, convolve_transpose
from logvar.backend.ops import biased_silu
from logvar.backend.products import product

Vector = Float[Array, "inputs"]


def glorot_uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform in ±√(6 / (fan_in + fan_out)): Glorot & Bengio 2010, AISTATS."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def by_head(image: Image, heads: int, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """An image's channels as outputs in the shape of x; several heads become a first axis."""
    if heads == 1:
        return image.reshape(shape)
    height, width, channels = image.shape
    parted = image.reshape(height, width, heads, channels // heads)
    return jnp.moveaxis(parted, 2, 0).reshape(heads, *shape)


def mean_and_raw(outputs: Vector) -> tuple[Float[Array, "latent"], Float[Array, "latent"]]:
    """An encoder's last outputs as two halves. The gradient of a split is one array put together,
    that of two slices the sum of two with zeros."""
    mean, raw = jnp.split(outputs, 2)
    return mean, raw


class Dense(eqx.Module):
    """x ↦ x·kernel + bias."""

    kernel: Float[Array, "inputs outputs"]
    bias: Float[Array, "outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (inputs, outputs), inputs, outputs)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Vector) -> Float[Array, "outputs"]:
        return product(x, self.kernel) + self.bias

    def activated(self, x: Vector) -> Float[Array, "outputs"]:
        """SiLU of the layer's output."""
        return biased_silu(product(x, self.kernel), self.bias)


class Convolution(eqx.Module):
    """A convolution with bias; kernel (rows, columns, in, out)."""

    kernel: Kernel
    bias: Float[Array, "outputs"]
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, stride: int, padding: str, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (3, 3, inputs, outputs), 9 * inputs, 9 * outputs)
        self.bias = jnp.zeros(outputs)
        self.stride = stride
        self.padding = padding

    def __call__(self, image: Image) -> Result:
        return convolve(image, self.kernel, self.stride, self.padding) + self.bias


class TransposedConvolution(eqx.Module):
    """A transposed convolution with bias, "same" padding; kernel (rows, columns, out, in)."""

    kernel: Kernel
    bias: Float[Array, "outputs"]
    stride: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, stride: int, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (3, 3, outputs, inputs), 9 * inputs, 9 * outputs)
        self.bias = jnp.zeros(outputs)
        self.stride = stride

    def __call__(self, image: Image) -> Result:
        return convolve_transpose(image, self.kernel, self.stride) + self.bias
