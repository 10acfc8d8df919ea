"""The split into training and held-out rows, the order of each epoch, and padding.

A compiled program is made for the shapes of its arrays. Padding rows and orders to a few sizes lets
data sets of different sizes use the same program. Padding has weight 0 or is never visited, so it
never changes a result.
"""

import math

import numpy as np
from jaxtyping import Int32
from numpy.typing import DTypeLike

from logvar.backend.sparse import InMemory, SparseRows, Stored
from logvar.randomness import Purpose, host_stream

_ALIGNMENT = 64
_FEW_ROWS = 1024
_SMALL = 2**20
_LARGE = 2**25


def padded_size(n: int, bytes_per_row: int, least: int = _FEW_ROWS) -> int:
    """Return the number of rows that n rows are padded to.

    Up to 1 MiB: a power of two, and at least `least` rows if those fit in 1 MiB. Up to 32 MiB: the
    next multiple of an eighth of a power of two, which adds at most an eighth. Larger arrays are
    not padded: padding copies them, and compiling is short compared with their training.
    """
    size = n * bytes_per_row
    if size > _LARGE:
        return n
    power = 1 << max(n - 1, 0).bit_length()
    if size > _SMALL:
        step = max(power // 16, 1)
        return -(-n // step) * step
    return max(power, least if least * bytes_per_row <= _SMALL else 1)


def padded(rows: InMemory) -> np.ndarray | Stored:
    """Pad rows to `padded_size` with copies of the first one; sparse ones stay as many."""
    if isinstance(rows, SparseRows):
        return rows.stored()
    missing = padded_size(len(rows), rows[:1].nbytes) - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]) if missing else rows


def split(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of (training, held-out) rows: a function of (n, fraction, seed).

    At least one row is held out unless the fraction is 0, and at least one is left to train on.
    """
    if fraction == 0:
        return np.arange(n), np.arange(0)
    held_out = min(max(1, round(n * fraction)), n - 1)
    order = host_stream(seed, Purpose.SPLIT).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def taken(rows: InMemory, indices: np.ndarray) -> InMemory:
    """Return rows[indices] in memory that a CPU program can use without a copy."""
    if isinstance(rows, SparseRows):
        return rows[indices]
    found = aligned((len(indices), *rows.shape[1:]), rows.dtype)
    # In the mode that checks indices, NumPy would fill a copy first.
    return np.take(rows, indices, axis=0, out=found, mode="clip")


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an uninitialized array in memory that a CPU program can use without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def epoch_order(n: int, batch_size: int, seed: int, epoch: int) -> Int32[np.ndarray, "padded"]:
    """Return the order in which an epoch visits n rows.

    It is padded with row 0 to `padded_size` and to whole batches; steps that have no rows are not
    taken.
    """
    size = padded_size(n, np.dtype(np.int32).itemsize)
    order = np.zeros(-(-size // batch_size) * batch_size, np.int32)
    order[:n] = host_stream(seed, Purpose.ORDER, epoch).permutation(n)
    return order
