"""The layers of the built-in networks; kernels are Glorot-uniform, biases zero."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.compiling import from_host
from logvar.backend.convolution import Image, Kernel, Result, convolve, convolve_transpose
from logvar.backend.ops import biased_silu
from logvar.backend.products import product

Vector = Float[Array, "inputs"]
_DRAWN_AT_ONCE = 2**14


def keys_of(key: PRNGKeyArray, n: int) -> list[PRNGKeyArray]:
    """Split a key into a list of n keys; indexing an array of keys would compile more programs."""
    return _keys_of(key, n)


@functools.partial(jax.jit, static_argnums=1)
def _keys_of(key: PRNGKeyArray, n: int) -> list[PRNGKeyArray]:
    return list(jax.random.split(key, n))


def glorot_uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform in ±√(6 / (fan_in + fan_out)): Glorot & Bengio 2010, AISTATS.

    The numbers are those of `jax.random.uniform`, whose number i is a function of (key, i). They
    are drawn in blocks of one size, so that layers of every shape share one compiled program.
    """
    limit = math.sqrt(6 / (fan_in + fan_out))
    size = math.prod(shape)
    firsts = range(0, size, _DRAWN_AT_ONCE)
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        blocks = [_uniform(key, np.uint32(first), np.float32(limit)) for first in firsts]
        if not any(isinstance(block, jax.core.Tracer) for block in blocks):
            drawn = np.concatenate([np.asarray(block) for block in blocks])
            return from_host(drawn[:size].reshape(shape))
    # Inside a compiled function, or in float64: drawn as one array.
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


@jax.jit
def _uniform(key: PRNGKeyArray, first: Array, limit: Array) -> Float[Array, "block"]:
    """Numbers first, first + 1, … of `jax.random.uniform(key, minval=-limit, maxval=limit)`."""
    counters = first + jnp.arange(_DRAWN_AT_ONCE, dtype=jnp.uint32)
    words = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(key, i)))(counters)
    mantissa = (words[:, 0] ^ words[:, 1]) >> np.uint32(9)
    from_one_to_two = lax.bitcast_convert_type(mantissa | np.uint32(0x3F800000), jnp.float32)
    return jnp.maximum(-limit, (from_one_to_two - 1) * (limit + limit) - limit)


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

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (inputs, outputs), inputs, outputs)
        self.bias = from_host(np.zeros(outputs))

    def __call__(self, x: Vector) -> Float[Array, "outputs"]:
        return product(x, self.kernel) + self.bias

    def activated(self, x: Vector) -> Float[Array, "outputs"]:
        """Return SiLU of the layer's output."""
        return biased_silu(product(x, self.kernel), self.bias)


class Convolution(eqx.Module):
    """A convolution with bias; kernel (rows, columns, in, out)."""

    kernel: Kernel
    bias: Float[Array, "outputs"]
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, stride: int, padding: str, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (3, 3, inputs, outputs), 9 * inputs, 9 * outputs)
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

    def __init__(self, inputs: int, outputs: int, stride: int, *, key: PRNGKeyArray):
        self.kernel = glorot_uniform(key, (3, 3, outputs, inputs), 9 * inputs, 9 * outputs)
        self.bias = from_host(np.zeros(outputs))
        self.stride = stride

    def __call__(self, image: Image) -> Result:
        return convolve_transpose(image, self.kernel, self.stride) + self.bias
