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
from jax.extend import core
from jaxtyping import Array, Float

_ASKED = lax.DotAlgorithmPreset.BF16_BF16_F32


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

    def rounded(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = core.jaxpr_as_fun(_rounding(program))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return rounded


def _rounding(program: Any) -> Any:
    """A traced program that rounds where that is asked for; what is none stays as it is."""
    if isinstance(program, core.ClosedJaxpr):
        return program.replace(jaxpr=_rounding(program.jaxpr))
    if isinstance(program, core.Jaxpr):
        return program.replace(eqns=[_equation(equation) for equation in program.eqns])
    return tuple(map(_rounding, program)) if isinstance(program, tuple) else program


def _equation(equation: Any) -> Any:
    given = equation.params
    if equation.primitive is not lax.dot_general_p or given["precision"] != _ASKED:
        # Bodies of loops, branches and calls are parameters of their equations.
        return equation.replace(params={name: _rounding(value) for name, value in given.items()})
    dimensions, kind = given["dimension_numbers"], equation.outvars[0].aval.dtype
    (call,) = jax.make_jaxpr(
        jax.jit(lambda left, right: _product(left, right, dimensions).astype(kind))
    )(*(atom.aval for atom in equation.invars)).eqns
    return call.replace(invars=equation.invars, outvars=equation.outvars)


def _product(left: Array, right: Array, dimensions: lax.DotDimensionNumbers) -> Array:
    """The product of rounded factors; the left one always rows times terms of the sum.

    XLA's library for CPUs takes bfloat16 in that form only; of the others, XLA 0.10 computes some
    in float32 and fails on some. The barriers keep it from turning factors and product back. The
    gradient of a kernel comes as terms times rows, and turned: it is computed the other way round,
    which turns a factor instead of the product.
    """
    (left_sum, right_sum), (left_batch, right_batch) = dimensions
    left_free = [i for i in range(left.ndim) if i not in (*left_sum, *left_batch)]
    right_free = [i for i in range(right.ndim) if i not in (*right_sum, *right_batch)]
    shape = [left.shape[i] for i in (*left_batch, *left_free)]
    shape += [right.shape[i] for i in right_free]
    one = _parted(left.astype(jnp.bfloat16), left_batch, left_free, left_sum)
    other = _parted(right.astype(jnp.bfloat16), right_batch, right_free, right_sum)
    swapped = left_free and left_sum and left_free[0] > left_sum[0]
    if swapped:
        one, other = other, one
    product = lax.dot_general(
        lax.optimization_barrier(one), other, (((2,), (2,)), ((0,), (0,))),
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    product = lax.optimization_barrier(product)
    return (jnp.matrix_transpose(product) if swapped else product).reshape(shape)


def _parted(
    factor: Array, batch: Sequence[int], free: Sequence[int], summed: Sequence[int]
) -> Float[Array, "batch free summed"]:
    """The factor with its axes gathered into three."""
    shape = [math.prod(factor.shape[i] for i in axes) for axes in (batch, free, summed)]
    return jnp.transpose(factor, (*batch, *free, *summed)).reshape(shape)
