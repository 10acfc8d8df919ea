"""Apply a function of rows in blocks of one fixed size.

The block size never changes, so a row's result does not depend on how many rows come with it,
a program is compiled once per function and shape of example, and memory is bounded by the block.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

from logvar.networks.compiling import compiled

BLOCK = 128
BLOCKS_AT_ONCE = 32


def in_blocks(function: Callable, arguments: PyTree, *rowwise: np.ndarray) -> PyTree:
    """Return function(arguments, *rows) for all rows, as NumPy arrays.

    Args:
        function: a module-level function of (arguments, *block of each rowwise array) that
            returns arrays with the block as first axis; being the same object each time is what
            lets its compiled form be found again.
        arguments: what every block gets, such as the model.
        rowwise: arrays with one entry per row.
    """
    n = len(rowwise[0])
    if n == 0:
        raise ValueError("in_blocks needs at least one row")
    results, done = [], 0
    while done < n:
        blocks = BLOCKS_AT_ONCE if n - done >= BLOCK * BLOCKS_AT_ONCE else 1
        size = min(blocks * BLOCK, n - done)
        stacked = [_blocks(array[done : done + size], blocks) for array in rowwise]
        out = _map_blocks(function, arguments, stacked)
        results.append(
            jax.tree.map(lambda a, size=size: np.asarray(a).reshape(-1, *a.shape[2:])[:size], out)
        )
        done += size
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def _blocks(rows: np.ndarray, blocks: int) -> np.ndarray:
    """(blocks, BLOCK, …), padded by repeating the first row."""
    missing = blocks * BLOCK - len(rows)
    if missing:
        rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
    return rows.reshape(blocks, BLOCK, *rows.shape[1:])


@compiled
def _map_blocks(function: Callable, arguments: PyTree, stacked: list) -> PyTree:
    return lax.map(lambda block: function(arguments, *block), [jnp.asarray(a) for a in stacked])
