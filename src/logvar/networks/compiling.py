"""How programs are compiled: `jax.jit`, with one option where it was measured to pay.

On CPU, JAX 0.10 hands each matrix product to a library (YNNPACK) that takes those of small
networks at about 120 GFLOP/s; XLA's own take them at 190 and more. Without it, on two cores: a step
of the MLP 784-512-20 takes 0.75 of the time, 500 importance samples 0.54, a fleet's step 0.8; but a
step of the tutorial's convolutions takes 1.2 times as long, so networks with convolutions keep it,
and so do products in bfloat16, which XLA's own take as float32.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from logvar.networks.layers import Convolution, TransposedConvolution
from logvar.networks.precision import Precision

# Naming one kind of fusion switches the others off. Later versions may not know the name.
_PRODUCTS: Any = (
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"}
    if jax.__version_info__ < (0, 11)
    else None
)


class Compiled:
    """A function with its programs: those that the library is faster for, and the others."""

    def __init__(self, function: Callable, donate: Any = "none"):
        filtered: Any = eqx.filter_jit
        self._library = filtered(function, donate=donate)
        self._own = filtered(function, donate=donate, compiler_options=_PRODUCTS)

    def __call__(self, *arguments: Any) -> Any:
        return (self._library if suits_library(arguments) else self._own)(*arguments)

    def programs(self) -> int:
        """How many programs it has been compiled to so far."""
        return sum(kind._cached._cache_size() for kind in (self._library, self._own))


def compiled(function: Callable, donate: Any = "none") -> Compiled:
    """`eqx.filter_jit`, with the compiler option that suits the model among the arguments."""
    return Compiled(function, donate)


def suits_library(tree: Any) -> bool:
    """Whether a tree has a convolution among its modules, or asks for bfloat16."""

    def is_convolution(node: Any) -> bool:
        return isinstance(node, (Convolution, TransposedConvolution))

    leaves = jax.tree.leaves(tree, is_leaf=is_convolution)
    return any(is_convolution(leaf) or leaf is Precision.BFLOAT16 for leaf in leaves)
