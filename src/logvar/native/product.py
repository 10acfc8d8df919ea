"""Which matrix products the kernels compute, and how one is brought into their form."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar.native.library import in_use

_COLUMNS = 16
"""Of fewer columns, most of a panel of 32 would be computed for nothing."""
_WORTH = 2**16
"""Multiplications from which a call costs less than it saves."""

_MANY_TERMS = 1024
"""Where so many are summed the result is small, and the narrow factor goes first."""


def native_product(equation: Any) -> Callable[[Array, Array], Array] | None:
    """What computes this `dot_general` with the kernels; None where they are not for it.

    Σ_k left(i, k)·right(k, j), each factor as it lies or turned; several axes that belong together
    count as one. Products of other types, of batches, of unordered axes, of few columns or little
    work are left to XLA.
    """
    (left_sum, right_sum), batch = equation.params["dimension_numbers"]
    left, right = (atom.aval for atom in equation.invars)
    if not in_use() or batch != ((), ()) or equation.params["precision"] is not None:
        return None
    if not {left.dtype, right.dtype, equation.outvars[0].aval.dtype} == {jnp.dtype("float32")}:
        return None
    turned = _turned(left, left_sum, last=True), _turned(right, right_sum, last=False)
    if None in turned or turned == (True, True):
        return None
    terms = math.prod(left.shape[axis] for axis in left_sum)
    rows, columns = left.size // max(terms, 1), right.size // max(terms, 1)
    swapped = turned[0] and (rows > columns if terms >= _MANY_TERMS else rows >= _COLUMNS)
    if (rows if swapped else columns) < _COLUMNS or rows * columns * terms < _WORTH:
        return None
    shape = equation.outvars[0].aval.shape

    def product(one: Array, other: Array) -> Array:
        one = one.reshape((terms, rows) if turned[0] else (rows, terms))
        other = other.reshape((columns, terms) if turned[1] else (terms, columns))
        # Differentiation turns the gradient of a kernel round after this product; turned here as
        # well, XLA drops both, where it would move all of the result.
        found = multiply(other, one, True).T if swapped else multiply(one, other, *turned)
        return found.reshape(shape)

    return product


def _turned(factor: Any, summed: tuple[int, ...], *, last: bool) -> bool | None:
    """Whether a factor's summed axes are at the other end than `last` says; None if at neither."""
    rank, count = len(factor.shape), len(summed)
    ends = {True: tuple(range(rank - count, rank)), False: tuple(range(count))}
    if summed == ends[last]:
        return False
    return True if summed == ends[not last] else None


def multiply(
    left: Float[Array, "#one #other"],
    right: Float[Array, "#one #other"],
    left_turned: bool = False,
    right_turned: bool = False,
) -> Float[Array, "rows columns"]:
    """The product of two matrices, a factor turned first where that is said (not both)."""
    kind = "_left_turned" if left_turned else "_right_turned" if right_turned else ""
    rows, columns = left.shape[1 if left_turned else 0], right.shape[0 if right_turned else 1]
    call = jax.ffi.ffi_call(
        f"logvar_product{kind}",
        jax.ShapeDtypeStruct((rows, columns), jnp.float32),
        vmap_method="broadcast_all",
    )
    return call(left, right)
