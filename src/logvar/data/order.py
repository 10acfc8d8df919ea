"""Which rows are held out, and in which order the others are visited."""

import math

import numpy as np
from jaxtyping import Int32
from numpy.typing import DTypeLike

from logvar.randomness import Purpose, host_stream

_ALIGNMENT = 64


def split(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (training, held-out) rows: a function of (n, fraction, seed).

    At least one row is held out unless the fraction is 0, and at least one is left to train on.
    """
    if fraction == 0:
        return np.arange(n), np.arange(0)
    held_out = min(max(1, round(n * fraction)), n - 1)
    order = host_stream(seed, Purpose.SPLIT).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def taken(rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """rows[indices], in memory that begins where a CPU program may use it without a copy."""
    found = aligned((len(indices), *rows.shape[1:]), rows.dtype)
    # With the mode that checks indices, NumPy would fill a copy first.
    return np.take(rows, indices, axis=0, out=found, mode="clip")


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Memory for an array, not yet filled, that a CPU program may use without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def epoch_order(n: int, batch_size: int, seed: int, epoch: int) -> Int32[np.ndarray, "padded"]:
    """The order in which an epoch visits n rows, padded with row 0 to whole batches."""
    order = host_stream(seed, Purpose.ORDER, epoch).permutation(n)
    padded = np.zeros(-(-n // batch_size) * batch_size, np.int32)
    padded[:n] = order
    return padded
