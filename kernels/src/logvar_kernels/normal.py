"""Standard normal numbers of a key in one pass."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from logvar_kernels.library import call


def normal(words: UInt32[Array, "2"], count: int) -> Float[Array, "count"]:
    """So many numbers of a threefry key; under `vmap` those of all keys, in one call."""
    shape = jax.ShapeDtypeStruct((count,), jnp.float32)
    return call("logvar_normal", [shape], words, vmap_method="broadcast_all")[0]
