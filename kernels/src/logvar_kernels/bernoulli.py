"""log p(x | logits) of Bernoulli features and its derivative in one pass."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from logvar_kernels.library import call, in_use

_WORTH = 16
"""Features from which a call costs less than it saves."""


def suits(x: Array, logits: Array) -> bool:
    """Whether the kernel can take these values of one example."""
    return (
        in_use() and x.shape == logits.shape and x.dtype == logits.dtype == jnp.float32
        and logits.size >= _WORTH
    )  # fmt: skip


@jax.custom_jvp
def total(x: Float[Array, "*shape"], logits: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Σ x·l − log(1 + e^l) over the features of one example; under `vmap` of many, in one call."""
    return _called(x, logits, results=1)[0]


def _total_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    value, slope = _total_and_slope(*primals)
    by_x, by_logits = tangents
    moved = jnp.zeros(()) if isinstance(by_logits, SymbolicZero) else jnp.sum(slope * by_logits)
    if not isinstance(by_x, SymbolicZero):
        moved += jnp.sum(primals[1] * by_x)
    return value, moved


total.defjvp(_total_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _total_and_slope(x: Array, logits: Array) -> tuple[Array, Array]:
    value, slope = _called(x, logits, results=2)
    return value, slope.reshape(logits.shape)


@_total_and_slope.defjvp
def _total_and_slope_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """For second derivatives, by the formulas of the slope."""
    (_, logits), (by_x, by_logits) = primals, tangents
    value, slope = _total_and_slope(*primals)
    moved = jnp.sum(slope * by_logits + logits * by_x)
    sigmoid = jax.nn.sigmoid(logits)
    return (value, slope), (moved, by_x - sigmoid * (1 - sigmoid) * by_logits)


def _called(x: Array, logits: Array, results: int) -> list[Array]:
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((), (logits.size,))]
    operands = x.reshape(-1), logits.reshape(-1)
    return call("logvar_bernoulli", shapes[:results], *operands, vmap_method="expand_dims")
