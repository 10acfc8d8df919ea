"""How programs are compiled: `jax.jit`, with one option where it was measured to pay.

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
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.experimental.xla_metadata import set_xla_metadata

from logvar.networks.precision import Precision

# Naming one kind of fusion switches the others off. Later versions may not know the name.
_SUMS: Any = (
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    if jax.__version_info__ < (0, 11)
    else None
)


class Compiled:
    """A function with its programs: those that the library is faster for, and the others."""

    def __init__(self, function: Callable, donate: Any = "none"):
        filtered: Any = eqx.filter_jit
        self._library = filtered(function, donate=donate)
        self._own = filtered(function, donate=donate, compiler_options=_SUMS)

    def __call__(self, *arguments: Any) -> Any:
        return (self._library if asks_for_bfloat16(arguments) else self._own)(*arguments)

    def programs(self) -> int:
        """How many programs it has been compiled to so far."""
        return sum(kind._cached._cache_size() for kind in (self._library, self._own))


def compiled(function: Callable, donate: Any = "none") -> Compiled:
    """`eqx.filter_jit`, with the compiler option that suits the model among the arguments."""
    return Compiled(function, donate)


def asks_for_bfloat16(tree: Any) -> bool:
    """Whether a tree asks for bfloat16."""
    return any(leaf is Precision.BFLOAT16 for leaf in jax.tree.leaves(tree))


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
