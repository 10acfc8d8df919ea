"""Matrix products of a traced function, exchanged for others that compute the same better.

Which form of a product is fast depends on the machine, and those of a gradient are written by
automatic differentiation. So a function is traced and gone through once, with the bodies of its
loops, branches and calls.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.extend import core
from jaxtyping import Array

from logvar.native.product import native_product, native_product_times

Product = Callable[..., Array]
"""Takes the two factors, and a third one where that is said."""

Choice = Callable[[Any], Product | None]
"""Sees the equation of a product (a `dot_general`, under `vmap` and differentiation as they left
it) and returns what computes it instead, or None to leave it."""


class _Better(NamedTuple):
    product: Choice
    times: Choice


def exchanged(function: Callable, better: Choice, times: Choice = lambda _: None) -> Callable:
    """The function of arrays, with some of its matrix products computed in another way.

    Args:
        function: takes and returns arrays, or trees of them.
        better: for each product.
        times: for one of which all that is used is its multiple by another array of its shape:
            what computes that of the two factors and the array.
    """

    def function_of_arrays(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        program = _exchanged(program, _Better(better, times))
        results = core.jaxpr_as_fun(program)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return function_of_arrays


def _exchanged(program: Any, better: _Better) -> Any:
    """A traced program with its products exchanged; what is none stays as it is."""
    if isinstance(program, core.ClosedJaxpr):
        return program.replace(jaxpr=_exchanged(program.jaxpr, better))
    if isinstance(program, core.Jaxpr):
        return program.replace(eqns=list(_equations(program, better)))
    # Not a tuple of another class, such as the generator that a key belongs to.
    return tuple(_exchanged(p, better) for p in program) if type(program) is tuple else program


def _equations(program: core.Jaxpr, better: _Better) -> Iterator[Any]:
    """The equations of a program: a product that is only multiplied takes its place there."""
    multiplied = _only_multiplied(program)
    waiting: dict[Any, tuple[Any, Product]] = {}  # by the multiple; one of two products at most
    for equation in program.eqns:
        multiple = multiplied.get(equation.outvars[0]) if equation.outvars else None
        times = None if multiple is None or multiple in waiting else better.times(equation)
        if times is not None:
            waiting[multiple] = equation, times
        elif equation.outvars and equation.outvars[0] in waiting:
            of, times = waiting.pop(equation.outvars[0])
            (by,) = (atom for atom in equation.invars if atom is not of.outvars[0])
            yield _called(times, (*of.invars, by), equation.outvars)
        else:
            yield _equation(equation, better)


def _only_multiplied(program: core.Jaxpr) -> dict[Any, Any]:
    """Each product of which all that is used is its multiple by an array of its shape: and that."""
    equations: list[Any] = program.eqns
    uses = Counter(atom for e in equations for atom in e.invars if isinstance(atom, core.Var))
    uses.update(atom for atom in program.outvars if isinstance(atom, core.Var))
    products = {e.outvars[0] for e in equations if e.primitive is lax.dot_general_p}
    return {
        atom: equation.outvars[0]
        for equation in equations
        if equation.primitive is lax.mul_p
        and equation.invars[0].aval.shape == equation.invars[1].aval.shape
        for atom in equation.invars
        if isinstance(atom, core.Var) and atom in products and uses[atom] == 1
    }


def _equation(equation: Any, better: _Better) -> Any:
    product = better.product(equation) if equation.primitive is lax.dot_general_p else None
    if product is None:
        # Bodies of loops, branches and calls are parameters of their equations.
        inner = {name: _exchanged(value, better) for name, value in equation.params.items()}
        return equation.replace(params=inner)
    return _called(product, equation.invars, equation.outvars)


def _called(product: Product, operands: Sequence[Any], results: Sequence[Any]) -> Any:
    (call,) = jax.make_jaxpr(jax.jit(product))(*(atom.aval for atom in operands)).eqns
    return call.replace(invars=list(operands), outvars=list(results))


def suited_to_cpu(function: Callable) -> Callable:
    """On a CPU, the function with its products computed by kernels of our own where those are for
    them (`logvar.native`), and those of its gradients otherwise in forms that XLA 0.10 is fast at.

    The gradient of a kernel is the sum, over examples and pixels, of an input times a gradient:
    see `_narrow_first`. That of a layer's input is a gradient times the kernel, turned: see
    `_turned`.
    """
    if jax.default_backend() != "cpu":
        return function
    return exchanged(function, _suited, times=native_product_times)


_NARROW = 8
"""A factor so many times as narrow as the other is worth putting first, even if that turns the
result. At a ratio of 2 it is not: a step of 784-1024-512-256 took 1.05 of the time."""
_STRIDE = 256
"""Rows of a multiple of so many numbers begin in the same few sets of the cache, and those of a
factor that is read down its columns push each other out."""


def _suited(equation: Any) -> Product | None:
    return native_product(equation) or _form_for_xla(equation)


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
