"""How programs are compiled: `jax.jit` of trees, with one option where it was measured to pay.

On CPU, JAX 0.10 hands each matrix product to a library (YNNPACK) that takes those of small
networks at about 120 GFLOP/s on an Intel Xeon; XLA's own take them at 190 and more. Without it, on
two cores: a step of the MLP 784-512-20 takes 0.75 of the time, 500 importance samples 0.54, a
fleet's step 0.8. On an AMD EPYC it makes no difference to these, but the tutorial's step takes 0.9
of the time. Sums stay with the library: with XLA's own, of gradients of biases over examples and
pixels, that step takes 1.6 ms more. Products in bfloat16 keep the library, too, which XLA's own
take as float32.

Within a program, `computed_once` keeps XLA from computing a part of it again for each of its uses.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array

from logvar.networks.precision import Precision

# Naming one kind of fusion switches the others off. Later versions may not know the name.
_SUMS: Any = (
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    if jax.__version_info__ < (0, 11)
    else None
)


class _Given(NamedTuple):
    """What a program is compiled for beside the shapes of its arrays."""

    structure: Any
    leaves: tuple[Any, ...]
    """Hashable, with `_ARRAY` in the place of each array."""
    kinds: tuple[type, ...]
    """1, 1.0 and True are equal, and not the same program."""


_ARRAY = object()
_flatten: Any = jax.tree.flatten  # whose structures the type checker does not know


class Compiled:
    """A function of trees with its programs: those that the library is faster for, and the others.

    Arrays are a program's inputs; it is compiled for all else, as with `eqx.filter_jit`. A call
    with a model's state takes 0.16 ms here and 0.42 there, and an epoch of digits is 4 ms.
    """

    def __init__(self, function: Callable, donate: bool = False):
        def of_arrays(given: _Given, first: list[Array], others: list[Array]) -> Any:
            arrays = iter((*first, *others))
            leaves = [next(arrays) if leaf is _ARRAY else leaf for leaf in given.leaves]
            return function(*jax.tree.unflatten(given.structure, leaves))

        of_arrays.__name__ = function.__name__  # which the profiler and the cache on disk show
        how: Any = {"static_argnums": 0, "donate_argnums": 2 if donate else ()}
        self._library: Any = jax.jit(of_arrays, **how)
        self._own: Any = jax.jit(of_arrays, **how, compiler_options=_SUMS)

    def __call__(self, *arguments: Any) -> Any:
        leaves, structure = _flatten(arguments)
        is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
        marked = [_ARRAY if array else leaf for leaf, array in zip(leaves, is_array, strict=True)]
        n = structure.children()[0].num_leaves
        first = list(itertools.compress(leaves[:n], is_array[:n]))
        others = list(itertools.compress(leaves[n:], is_array[n:]))
        in_bfloat16 = any(leaf is Precision.BFLOAT16 for leaf in marked)
        given = _Given(structure, tuple(marked), tuple(map(type, marked)))
        return (self._library if in_bfloat16 else self._own)(given, first, others)

    def programs(self) -> int:
        """How many programs it has been compiled to so far."""
        return sum(kind._cache_size() for kind in (self._library, self._own))


def compiled(function: Callable, donate: bool = False) -> Compiled:
    """The function with its programs; `donate` gives them all arguments' memory but the first's."""
    return Compiled(function, donate)


def computed_once(function: Callable) -> Callable:
    """The function of (array, setting), computed once where XLA would do so again for each use.

    On a CPU, XLA fuses what it takes to be cheap, such as a sum of slices, with each of the
    operations that use it. A call that it must not inline ends that; a barrier does not, which is
    gone before XLA decides. Calls are differentiated and mapped as ever; other backends get none.
    """
    call = jax.jit(function, static_argnums=1)

    @functools.wraps(function)
    def once(array: Any, setting: Any) -> Any:
        if jax.default_backend() != "cpu":
            return function(array, setting)
        with set_xla_metadata(inlineable="false"):
            return call(array, setting)

    return once
