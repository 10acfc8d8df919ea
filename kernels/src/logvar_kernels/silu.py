"""SiLU of a layer's output and its derivative in one pass."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar_kernels.library import call, in_use

_WORTH = 16
"""Outputs of a layer from which a call costs less than it saves."""


def suits(x: Array, bias: Array) -> bool:
    """Whether the kernel can take what a layer puts out for one example, and its bias."""
    one_row = x.ndim == 1 and x.shape == bias.shape and x.size >= _WORTH
    return in_use() and one_row and x.dtype == bias.dtype == jnp.float32


@jax.custom_jvp
def silu(x: Float[Array, "outputs"], bias: Float[Array, "outputs"]) -> Float[Array, "outputs"]:
    """t·sigmoid(t) of t = x + bias for one example; under `vmap` of many, in one call."""
    return _called(x, bias, results=1)[0]


@silu.defjvp
def _silu_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, slope = _silu_and_slope(*primals)
    return value, slope * (tangents[0] + tangents[1])


@jax.custom_jvp
def _silu_and_slope(x: Array, bias: Array) -> tuple[Array, Array]:
    value, slope = _called(x, bias, results=2)
    return value, slope


@_silu_and_slope.defjvp
def _silu_and_slope_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """For second derivatives: σ′·(2 + t·(1 − 2σ)) is the slope's."""
    value, slope = _silu_and_slope(*primals)
    t, moved = primals[0] + primals[1], tangents[0] + tangents[1]
    sigmoid = jax.nn.sigmoid(t)
    second = sigmoid * jax.nn.sigmoid(-t) * (2 + t * (1 - 2 * sigmoid))
    return (value, slope), (slope * moved, second * moved)


def _called(x: Array, bias: Array, results: int) -> list[Array]:
    shapes = [jax.ShapeDtypeStruct(x.shape, jnp.float32)] * results
    return call("logvar_silu", shapes, x, bias, vmap_method="expand_dims")
