"""Adam in one pass over the weights, and the sum of a gradient's squares in one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logvar.backend.extension import AdamLeaves, AdamMoved, AdamNumbers, Values
from logvar_kernels.library import call, in_use

_MOST = 512
"""Arrays in one call."""


def suits(arrays: Sequence[Values], factors: Sequence[Values]) -> bool:
    """Whether the kernels can take these arrays, with one factor each or one for each column."""
    return (
        in_use()
        and 0 < len(arrays) <= _MOST
        and all(_suits(array, factor) for array, factor in zip(arrays, factors, strict=True))
    )


def _suits(array: Values, factor: Values) -> bool:
    float32 = array.dtype == factor.dtype == jnp.float32
    by_column = factor.ndim > 0 and array.ndim > 0 and factor.size == array.shape[-1]
    one_row = by_column and factor.shape[-1] == factor.size
    return float32 and array.size > 0 and (factor.size == 1 or one_row)


def sum_of_squares(gradients: Sequence[Values], factors: Sequence[Values]) -> Float[Array, ""]:
    """Σ (gradient·factor)² over all arrays."""
    operands = [
        operand
        for gradient, factor in zip(gradients, factors, strict=True)
        for operand in (gradient, factor.reshape(-1))
    ]
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    return call("logvar_squares", [scalar], *operands, vmap_method="broadcast_all")[0]


def adam_step(numbers: AdamNumbers, leaves: AdamLeaves) -> AdamMoved:
    """The weights and both means after a step, in the memory of those before."""
    operands: list[Values] = [_packed(numbers)]
    shapes: list[jax.ShapeDtypeStruct] = []
    aliases: dict[int, int] = {}
    for *changed, gradient, factor in zip(*leaves, strict=True):
        for array in changed:
            aliases[len(operands)] = len(shapes)
            operands.append(array)
            shapes.append(jax.ShapeDtypeStruct(array.shape, array.dtype))
        operands += [gradient, factor.reshape(-1)]
    results = call(
        "logvar_adam", shapes, *operands, input_output_aliases=aliases, vmap_method="broadcast_all"
    )
    return AdamMoved(results[0::3], results[1::3], results[2::3])


def _packed(numbers: AdamNumbers) -> Float[Array, "numbers"]:
    """The numbers in one array. XLA fuses these choices with what they choose from; to put the
    numbers one after another it makes a program of each first, ten for each step. Without penalty
    or decay it is 0."""
    index, packed = jnp.arange(len(numbers)), jnp.zeros(len(numbers))
    for i, number in enumerate(numbers):
        number = 0.0 if number is None else number
        packed = jnp.where(index == i, jnp.asarray(number, jnp.float32), packed)
    return packed
