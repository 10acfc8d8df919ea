"""Matrix products of networks in bfloat16 while they train: factors rounded, sums in float32.

Weights, activations, losses and the optimizer stay float32; only the factors of the networks'
products, forward and backward, are rounded to bfloat16 and their results summed in float32
(Kalamkar et al. 2019, arXiv 1905.12322). Nothing is evaluated or scored that way.

A product that asks for this (`lax.DotAlgorithmPreset.BF16_BF16_F32`) gets it on an accelerator. On
a CPU, XLA takes the wish and computes in float32, so there the traced function is gone through once
and the rounding written into it. Rules of our own for products would not do: they know one example,
and derivatives under `vmap` would then be as many outer products.
"""

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from logvar.networks.products import Product, exchanged

_ASKED = lax.DotAlgorithmPreset.BF16_BF16_F32
_SMALL = 16
"""With fewer rows, columns or terms there is nothing to gain."""


class Precision(enum.Enum):
    """What the factors of a network's products are rounded to in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Rounding(eqx.Module):
    """A network whose products ask for bfloat16 factors and float32 sums."""

    network: Any

    def __call__(self, x: Float[Array, "..."]) -> Any:
        with jax.default_matmul_precision(_ASKED.name):
            return self.network(x)


def at_precision(model: Any, precision: Precision) -> Any:
    """The model with its networks' products in that precision."""
    if precision is Precision.FLOAT32:
        return model
    return eqx.tree_at(
        lambda m: (m.encoder, m.decoder), model, (Rounding(model.encoder), Rounding(model.decoder))
    )


def as_asked(function: Callable, precision: Precision) -> Callable:
    """The function of arrays, with products that ask for bfloat16 really getting it on a CPU."""
    if precision is Precision.FLOAT32 or jax.default_backend() != "cpu":
        return function

    return exchanged(function, _rounding)


def _rounding(equation: Any) -> Product | None:
    given = equation.params
    if given["precision"] != _ASKED:
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
