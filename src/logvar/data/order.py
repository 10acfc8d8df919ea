"""Which rows are held out, in which order the others are visited, and how both are padded.

A compiled program is made for the shapes of its arrays. Padding rows and orders to a few sizes lets
data sets of different sizes use the same program; padding has weight 0 or is never visited, so it
changes no result.
"""

import math

import numpy as np
from jaxtyping import Int32
from numpy.typing import DTypeLike

from logvar.randomness import Purpose, host_stream

_ALIGNMENT = 64
_FEW_ROWS = 1024
_SMALL = 2**20
_LARGE = 2**25


def padded_size(n: int, bytes_per_row: int, least: int = _FEW_ROWS) -> int:
    """To how many rows n rows are padded.

    Up to 1 MiB: to a power of two, and to `least` where that is no more than 1 MiB. Up to 32 MiB:
    to the next multiple of an eighth of a power of two, which adds at most an eighth. Larger arrays
    stay as they are: padding copies them, and next to their training a compilation is short.
    """
    size = n * bytes_per_row
    if size > _LARGE:
        return n
    power = 1 << max(n - 1, 0).bit_length()
    if size > _SMALL:
        step = max(power // 16, 1)
        return -(-n // step) * step
    return max(power, least if least * bytes_per_row <= _SMALL else 1)


def padded(rows: np.ndarray) -> np.ndarray:
    """Rows padded to `padded_size` with copies of the first one."""
    missing = padded_size(len(rows), rows[:1].nbytes) - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]) if missing else rows


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
    """The order in which an epoch visits n rows, padded with row 0 to `padded_size` and to whole
    batches; the steps after those that hold rows are not taken."""
    size = padded_size(n, np.dtype(np.int32).itemsize)
    order = np.zeros(-(-size // batch_size) * batch_size, np.int32)
    order[:n] = host_stream(seed, Purpose.ORDER, epoch).permutation(n)
    return order
