"""The layers of the built-in networks."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.compiling import from_host
from logvar.backend.convolution import Image, Kernel, Result, convolve, convolve_transpose
from logvar.backend.ops import biased_silu
from logvar.backend.products import product
from logvar.networks.initialization import INITIALIZATIONS, uniform

Vector = Float[Array, "inputs"]

ACTIVATIONS: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "silu": biased_silu,
        "relu": lambda sums, bias: jax.nn.relu(sums + bias),
        "tanh": lambda sums, bias: jnp.tanh(sums + bias),
    }
)
"""By name, of a layer's sums and biases."""


def keys_of(key: PRNGKeyArray, n: int) -> list[PRNGKeyArray]:
    """Split a key into a list of n keys; indexing an array of keys would compile more programs."""
    return _keys_of(key, n)


@functools.partial(jax.jit, static_argnums=1)
def _keys_of(key: PRNGKeyArray, n: int) -> list[PRNGKeyArray]:
    return list(jax.random.split(key, n))


def by_head(image: Image, heads: int, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Return an image's channels as outputs in the shape of x; heads become a leading axis."""
    if heads == 1:
        return image.reshape(shape)
    height, width, channels = image.shape
    parted = image.reshape(height, width, heads, channels // heads)
    return jnp.moveaxis(parted, 2, 0).reshape(heads, *shape)


class Dense(eqx.Module):
    """x ↦ x·kernel + bias."""

    kernel: Float[Array, "inputs outputs"]
    bias: Float[Array, "outputs"]

    def __init__(
        self, inputs: int, outputs: int, *, key: PRNGKeyArray, initialization: str = "pytorch"
    ):
        limit = INITIALIZATIONS[initialization](inputs, inputs, outputs)
        self.kernel = uniform(key, (inputs, outputs), limit)
        self.bias = from_host(np.zeros(outputs))

    def __call__(self, x: Vector) -> Float[Array, "outputs"]:
        return product(x, self.kernel) + self.bias

    def activated(self, x: Vector, activation: str = "silu") -> Float[Array, "outputs"]:
        """Return an activation of the layer's output."""
        return ACTIVATIONS[activation](product(x, self.kernel), self.bias)


def dense_layers(
    sizes: tuple[int, ...], *, key: PRNGKeyArray, initialization: str = "pytorch"
) -> list[Dense]:
    """Return the layers from each size to the next."""
    keys = keys_of(key, len(sizes) - 1)
    return [
        Dense(sizes[i], sizes[i + 1], key=keys[i], initialization=initialization)
        for i in range(len(sizes) - 1)
    ]


class Convolution(eqx.Module):
    """A convolution with bias; kernel (rows, columns, in, out)."""

    kernel: Kernel
    bias: Float[Array, "outputs"]
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        padding: str,
        *,
        key: PRNGKeyArray,
        initialization: str = "lecun",
    ):
        limit = INITIALIZATIONS[initialization](9 * inputs, 9 * inputs, 9 * outputs)
        self.kernel = uniform(key, (3, 3, inputs, outputs), limit)
        self.bias = from_host(np.zeros(outputs))
        self.stride = stride
        self.padding = padding

    def __call__(self, image: Image) -> Result:
        return convolve(image, self.kernel, self.stride, self.padding) + self.bias


class TransposedConvolution(eqx.Module):
    """A transposed convolution with bias, "same" padding; kernel (rows, columns, out, in)."""

    kernel: Kernel
    bias: Float[Array, "outputs"]
    stride: int = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        key: PRNGKeyArray,
        initialization: str = "lecun",
    ):
        # An output sums over every stride-th place of the window in both directions.
        terms = 9 * inputs / stride**2
        limit = INITIALIZATIONS[initialization](terms, 9 * inputs, 9 * outputs)
        self.kernel = uniform(key, (3, 3, outputs, inputs), limit)
        self.bias = from_host(np.zeros(outputs))
        self.stride = stride

    def __call__(self, image: Image) -> Result:
        return convolve_transpose(image, self.kernel, self.stride) + self.bias
