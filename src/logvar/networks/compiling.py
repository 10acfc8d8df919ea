"""How programs are compiled: `jax.jit`, with one option where it was measured to pay.

On CPU, JAX 0.10 hands each matrix product to a library (YNNPACK) that takes those of small
networks at about 120 GFLOP/s; XLA's own take them at 190 and more. Without it, on two cores: a step
of the MLP 784-512-20 takes 0.75 of the time, 500 importance samples 0.54, a fleet's step 0.8; but a
step of the tutorial's convolutions takes 1.2 times as long, so networks with convolutions keep it.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from logvar.networks.layers import Convolution, TransposedConvolution

# Naming one kind of fusion switches the others off. Later versions may not know the name.
_PRODUCTS: Any = (
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"}
    if jax.__version_info__ < (0, 11)
    else None
)


class Compiled:
    """A function with its programs: those of networks with convolutions, and the others."""

    def __init__(self, function: Callable, donate: Any = "none"):
        filtered: Any = eqx.filter_jit
        self._plain = filtered(function, donate=donate)
        self._products = filtered(function, donate=donate, compiler_options=_PRODUCTS)

    def __call__(self, *arguments: Any) -> Any:
        return (self._plain if convolves(arguments) else self._products)(*arguments)

    def programs(self) -> int:
        """How many programs it has been compiled to so far."""
        return sum(kind._cached._cache_size() for kind in (self._plain, self._products))


def compiled(function: Callable, donate: Any = "none") -> Compiled:
    """`eqx.filter_jit`, with the compiler option that suits the model among the arguments."""
    return Compiled(function, donate)


def convolves(tree: Any) -> bool:
    """Whether there is a convolution among the modules of a tree."""

    def is_convolution(node: Any) -> bool:
        return isinstance(node, (Convolution, TransposedConvolution))

    return any(map(is_convolution, jax.tree.leaves(tree, is_leaf=is_convolution)))
