"""Products that ask for bfloat16, which XLA for CPUs would compute in float32."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from logvar.backend.precision import BFLOAT16_PRODUCT

_SMALL = 16
"""With fewer rows, columns or terms there is nothing to gain."""


def in_bfloat16(equation: Any) -> Callable[[Array, Array], Array] | None:
    """The product of rounded factors, for a `dot_general` that asks for it; otherwise None."""
    given = equation.params
    if given["precision"] != BFLOAT16_PRODUCT:
        return None
    dimensions, kind = given["dimension_numbers"], equation.outvars[0].aval.dtype
    return lambda left, right: _product(left, right, dimensions).astype(kind)


def _product(left: Array, right: Array, dimensions: lax.DotDimensionNumbers) -> Array:
    """The product of rounded factors: in bfloat16 where XLA's library for CPUs can, which is two
    matrices of some size; otherwise of the same numbers in float32."""
    (left_sum, right_sum), (left_batch, right_batch) = dimensions
    left_free = [i for i in range(left.ndim) if i not in (*left_sum, *left_batch)]
    right_free = [i for i in range(right.ndim) if i not in (*right_sum, *right_batch)]
    sizes = [
        math.prod(factor.shape[i] for i in axes)
        for factor, axes in ((left, left_free), (right, right_free), (left, left_sum))
    ]
    if left_batch or min(sizes) < _SMALL:
        bits = jnp.finfo(jnp.bfloat16)
        left, right = (lax.reduce_precision(x, bits.nexp, bits.nmant) for x in (left, right))
        return lax.dot_general(left, right, dimensions, precision=lax.Precision.HIGHEST)
    shape = [left.shape[i] for i in left_free] + [right.shape[i] for i in right_free]
    one, other = (left, left_free, left_sum), (right, right_free, right_sum)
    # The gradient of a kernel comes as (terms, rows) and is turned afterwards: the other way round
    # a factor is turned instead of the product.
    if left_free[0] > left_sum[0]:
        return jnp.matrix_transpose(_matrix(other, one)).reshape(shape)
    return _matrix(one, other).reshape(shape)


_Factor = tuple[Array, Sequence[int], Sequence[int]]


def _matrix(left: _Factor, right: _Factor) -> Float[Array, "1 rows columns"]:
    """Rows times columns, of factors with their free and their summed axes.

    The library takes bfloat16 with the left factor as (rows, terms) only. Of other forms, XLA 0.10
    computes some in float32, fails on some and aborts on some; the barriers, and a batch of one,
    keep it from making them, and from turning the product while weights are updated.
    """
    factors = lax.optimization_barrier(_parted(*left)), _parted(*right)
    product = lax.dot_general(factors[0], factors[1], _PRODUCT, preferred_element_type=jnp.float32)
    return lax.optimization_barrier(product)


_PRODUCT = (((2,), (2,)), ((0,), (0,)))


def _parted(
    values: Array, free: Sequence[int], summed: Sequence[int]
) -> Float[Array, "1 free summed"]:
    """A rounded factor with its axes gathered into two, and a batch of one."""
    shape = [math.prod(values.shape[i] for i in axes) for axes in (free, summed)]
    rounded = values.astype(jnp.bfloat16)
    return jnp.transpose(rounded, (*free, *summed)).reshape(1, *shape)
