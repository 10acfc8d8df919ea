"""Which matrix products the kernels compute, and how one is brought into their form."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar_kernels.library import call, in_use

_COLUMNS = 8
"""Of fewer columns, most of a vector of 16 would be computed for nothing."""
_ROWS = 16
"""Fewer rows are one piece, which cannot be shared out."""
_WORTH = 2**16
"""Multiplications from which a call costs less than it saves."""
_MANY_TERMS = 1024
"""Where so many are summed the result is small, and the narrow factor goes first."""
_WIDE = 128
"""Columns of which next to nothing is computed for nothing, so that either factor may go first."""


def native_product(equation: Any) -> Callable[[Array, Array], Array] | None:
    """What computes this `dot_general` with the kernels; None where they are not for it.

    Σ_k left(i, k)·right(k, j), each factor as it lies or turned, but not both turned; several axes
    that belong together count as one. Products of other types, of batches, of axes in another
    order, of few columns or little work are left to XLA.
    """
    (left_sum, right_sum), batch = equation.params["dimension_numbers"]
    left, right = (atom.aval for atom in equation.invars)
    if not in_use() or batch != ((), ()) or equation.params["precision"] is not None:
        return None
    if any(aval.dtype != jnp.float32 for aval in (left, right, equation.outvars[0].aval)):
        return None
    left_turned, right_turned = not _last(left, left_sum), not _first(right_sum)
    if (left_turned and not _first(left_sum)) or (right_turned and not _last(right, right_sum)):
        return None
    terms = math.prod(left.shape[axis] for axis in left_sum)
    if not terms or (left_turned and right_turned):
        return None
    rows, columns = left.size // terms, right.size // terms
    # Differentiation turns the gradient of a kernel round after this product. With its factors
    # swapped and the result turned here as well, XLA drops both and moves nothing. What a layer has
    # seen then goes first, of which zeros are left out: 0.9 of a step of 1024 images.
    either = rows >= _WIDE and len(left_sum) == 1
    first = rows > columns or either if terms >= _MANY_TERMS else rows >= _COLUMNS
    swapped = left_turned and first
    vector, other = (rows, columns) if swapped else (columns, rows)
    if vector < _COLUMNS or rows * columns * terms < _WORTH:
        return None
    if terms >= _MANY_TERMS and other < _ROWS and left_turned:
        return None
    shape = equation.outvars[0].aval.shape

    def product(one: Array, other: Array) -> Array:
        one = one.reshape((terms, rows) if left_turned else (rows, terms))
        other = other.reshape((columns, terms) if right_turned else (terms, columns))
        if swapped:
            return multiply(other, one, left_turned=True).T.reshape(shape)
        return multiply(one, other, left_turned, right_turned).reshape(shape)

    return product


def _first(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(len(axes)))


def _last(factor: Any, axes: tuple[int, ...]) -> bool:
    rank = len(factor.shape)
    return axes == tuple(range(rank - len(axes), rank))


def multiply(
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    left_turned: bool = False,
    right_turned: bool = False,
) -> Float[Array, "rows columns"]:
    """The product of two matrices, one of them turned first where that is said.

    Under `vmap` it is as many products, in one call.
    """
    kind = "_left_turned" if left_turned else "_right_turned" if right_turned else ""
    rows, columns = left.shape[1 if left_turned else 0], right.shape[0 if right_turned else 1]
    shape = jax.ShapeDtypeStruct((rows, columns), jnp.float32)
    return call(f"logvar_product{kind}", [shape], left, right, vmap_method="broadcast_all")[0]
