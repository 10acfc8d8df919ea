"""Apply a function of rows in blocks of one fixed size.

The block size never changes, so a row's result does not depend on the rows that come with it, a
program is compiled once per function and shape of example (and once more for 32 blocks at once; an
extension may treat parallel blocks differently), and memory is bounded by the block. One call of
the program may compute several blocks. On a CPU each core runs a call of its own.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

from logvar.backend.compiling import compiled
from logvar.backend.ops import on_one_core, one_core_differs, optimized
from logvar.backend.sparse import as_arrays
from logvar.cores import side_by_side

BLOCK = 128
BLOCKS_AT_ONCE = 32


def in_blocks(function: Callable, arguments: PyTree, *rowwise: PyTree) -> PyTree:
    """Return function(arguments, *rows) for all rows, as NumPy arrays.

    Args:
        function: a module-level function of (arguments, *block of each rowwise tree) that
            returns arrays with the block as first axis. It must be the same object each time, so
            that its compiled form is found again.
        arguments: passed to every block, such as the model.
        rowwise: NumPy arrays (or sparse rows) with one entry per row, or trees of them.
    """
    n = len(jax.tree.leaves(rowwise)[0])
    if n == 0:
        raise ValueError("in_blocks needs at least one row")

    def of_rows(span: slice) -> PyTree:
        some = as_arrays(jax.tree.map(lambda array: array[span], list(rowwise)))
        stacked = jax.tree.map(_blocks, some)
        size = min(span.stop, n) - span.start
        out = _map_blocks(function, arguments, stacked, alone)
        return jax.tree.map(lambda a: _flat(np.asarray(a))[:size], out)

    many = BLOCK * BLOCKS_AT_ONCE
    rest = n - n % many
    spans = [slice(i, i + many) for i in range(0, rest, many)]
    spans += [slice(i, i + BLOCK) for i in range(rest, n, BLOCK)]
    alone = one_core_differs() and len(spans) > 1
    results = side_by_side(of_rows, spans)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def _flat(blocks: np.ndarray) -> np.ndarray:
    return blocks.reshape(len(blocks) * BLOCK, *blocks.shape[2:])


def _blocks(rows: np.ndarray) -> np.ndarray:
    """(blocks, BLOCK, …), padded by repeating the first row."""
    blocks = -(-len(rows) // BLOCK)
    missing = blocks * BLOCK - len(rows)
    if missing:
        rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
    return rows.reshape(blocks, BLOCK, *rows.shape[1:])


@compiled
def _map_blocks(function: Callable, arguments: PyTree, stacked: list, alone: bool) -> PyTree:
    of_block = optimized(lambda block: function(arguments, *block))
    with on_one_core(alone):
        return lax.map(of_block, jax.tree.map(jnp.asarray, stacked))
