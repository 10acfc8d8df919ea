"""Traced programs with their matrix products replaced by others that compute the same faster.

Which form of a product is fast depends on the machine, and those of a gradient are written by
automatic differentiation. So a function is traced, and its program walked once, with the bodies of
its loops, branches and calls.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend import core
from jaxtyping import Array

from logvar_kernels.bfloat16 import in_bfloat16
from logvar_kernels.product import native_product

Product = Callable[[Array, Array], Array]
"""Takes the two factors."""


def exchanged(function: Callable, better: Callable[[Any], Product | None]) -> Callable:
    """The function of arrays, with some of its matrix products computed in another way.

    Args:
        function: takes and returns arrays, or trees of them.
        better: sees the equation of each product (a `dot_general`, under `vmap` and differentiation
            as they left it) and returns what computes it instead, or None to leave it.
    """

    def function_of_arrays(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = core.jaxpr_as_fun(_exchanged(program, better))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return function_of_arrays


def _exchanged(program: Any, better: Callable[[Any], Product | None]) -> Any:
    """A traced program with its products exchanged; what is none stays as it is."""
    if isinstance(program, core.ClosedJaxpr):
        return program.replace(jaxpr=_exchanged(program.jaxpr, better))
    if isinstance(program, core.Jaxpr):
        return program.replace(eqns=[_equation(equation, better) for equation in program.eqns])
    # Not a tuple of another class, such as the generator that a key belongs to.
    return tuple(_exchanged(p, better) for p in program) if type(program) is tuple else program


def _equation(equation: Any, better: Callable[[Any], Product | None]) -> Any:
    product = better(equation) if equation.primitive is lax.dot_general_p else None
    if product is None:
        # Bodies of loops, branches and calls are parameters of their equations.
        inner = {name: _exchanged(value, better) for name, value in equation.params.items()}
        return equation.replace(params=inner)
    factors = [atom.aval for atom in equation.invars]
    (call,) = jax.make_jaxpr(jax.jit(product))(*factors).eqns
    return call.replace(invars=equation.invars, outvars=equation.outvars)


def rewritten(function: Callable) -> Callable:
    """The function with its products in bfloat16 where they ask for it, otherwise computed by the
    kernels where those are for them, otherwise in forms that XLA 0.10 computes fast.

    The gradient of a kernel is the sum, over examples and pixels, of an input times a gradient:
    see `_narrow_first`. That of a layer's input is a gradient times the kernel, turned: see
    `_turned`.
    """
    return exchanged(function, _better)


_NARROW = 8
"""A factor so many times as narrow as the other is worth putting first, even if that turns the
result. At a ratio of 2 it is not: a step of 784-1024-512-256 took 1.05 of the time."""
_STRIDE = 256
"""Rows of a multiple of so many numbers begin in the same few sets of the cache, and those of a
factor that is read down its columns push each other out."""


def _better(equation: Any) -> Product | None:
    return in_bfloat16(equation) or native_product(equation) or _form_for_xla(equation)


def _form_for_xla(equation: Any) -> Product | None:
    (left, right), batch = equation.params["dimension_numbers"]
    shapes = [atom.aval.shape for atom in equation.invars]
    ranks = [len(shape) for shape in shapes]
    if equation.params["precision"] is not None or batch != ((), ()):
        return None
    leading = tuple(range(len(left)))
    if left and left == right == leading and ranks == [len(left) + 1] * 2:
        narrow, wide = sorted(shape[-1] for shape in shapes)
        return _narrow_first if len(left) > 1 or _NARROW * narrow <= wide else None
    if left == right == (1,) and ranks == [2, 2] and shapes[1][1] % _STRIDE == 0:
        return _turned
    return None


def _narrow_first(left: Array, right: Array) -> Array:
    """Σ over all leading axes of left[…, i]·right[…, j], in one axis and the narrow factor first.

    Written as a sum over several axes, XLA copies one factor with its axes turned, and of the
    tutorial's largest layer the 7 MB of patches: 3.9 ms for a product that takes 1.9. The barrier
    keeps XLA from swapping the factors to turn the product: 64 columns times 288 take 1.9 ms, 288
    times 64 take 2.2 (6272 rows, two cores); 20 times 512 take 22 µs instead of 102 (128 rows).
    """
    if left.shape[-1] > right.shape[-1]:
        return _narrow_first(right, left).T
    rows = math.prod(left.shape[:-1])
    return lax.optimization_barrier(left.reshape(rows, -1).T @ right.reshape(rows, -1))


def _turned(gradient: Array, kernel: Array) -> Array:
    """Σ_j gradient[…, j]·kernel[i, j], the kernel turned beforehand and not within the product.

    A layer that stores its kernel as (out, in) has this form in its forward pass, too. Of 128 rows,
    through a kernel of 784 × 1024: 1.4 ms instead of 3.9, the turning included; of 512 × 512: 0.5
    instead of 0.9. With 600 or 784 columns it gains nothing.
    """
    return gradient @ lax.optimization_barrier(kernel.T)
