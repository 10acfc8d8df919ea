"""Sizes and shapes as people write them, and arrays brought into the shape of images."""

import math
import re

import numpy as np

from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows
from logvar.errors import LogvarError

Size = tuple[int, int]
"""(width, height), as sizes of images are written: 640 × 480."""
CHANNELS = (1, 2, 3, 4)
_LARGEST = 1 << 16
_SMALLEST = 8
"""Axes shorter than this may be anything; convolutions need as much, too."""


def size_of(text: str | int) -> Size | None:
    """Return (width, height) of `--resize`: "64" is 64 × 64, "64x48" is 64 wide and 48 high.

    Raises:
        LogvarError: the text is no size.

    Example:
        >>> size_of("64"), size_of("64x48"), size_of("")
        ((64, 64), (64, 48), None)
    """
    if text in ("", None):
        return None
    numbers = _numbers(text)
    if numbers is None or len(numbers) > 2:
        raise LogvarError(
            f"resize is {text!r}: expected a number of pixels, such as 64 (the shorter side, then "
            "the centre), or WIDTHxHEIGHT, such as 64x48"
        )
    return (numbers[0], numbers[-1])


def shape_of(text: str) -> tuple[int, ...] | None:
    """Return the shape of `--shape`: "28x28" or, with channels last, "32x32x3".

    Raises:
        LogvarError: the text is no shape.

    Example:
        >>> shape_of("28x28"), shape_of("32x32x3"), shape_of("")
        ((28, 28), (32, 32, 3), None)
    """
    if text in ("", None):
        return None
    numbers = _numbers(text)
    if numbers is None or len(numbers) not in (2, 3):
        raise LogvarError(
            f"shape is {text!r}: expected HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS of one example, "
            "such as 28x28 or 32x32x3"
        )
    return numbers


def covering(size: Size, to: Size) -> tuple[float, float, float, float]:
    """Return the largest centred box (left, top, right, bottom) with the aspect ratio of `to`.

    Example:
        >>> covering((640, 480), (64, 64))
        (80.0, 0.0, 560.0, 480.0)
    """
    scale = max(to[0] / size[0], to[1] / size[1])
    width, height = min(to[0] / scale, size[0]), min(to[1] / scale, size[1])
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def shaped(rows: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return rows of flat pixels as examples of a shape.

    Raises:
        LogvarError: the number of columns is another, which the message explains.
    """
    found, needed = math.prod(rows.shape[1:]), math.prod(shape)
    if found == needed and (rows.ndim == 2 or _same(rows.shape[1:], shape)):
        return rows.reshape(len(rows), *shape)
    if rows.ndim > 2:
        raise LogvarError(
            f"{name} has examples of shape {written(rows.shape[1:])}, not flat rows: expected "
            f"{written(shape)}; leave out --shape, or reshape the array"
        )
    remedy = "give another --shape"
    if found == needed + 1:
        remedy = "one column too many may be a label: leave that column out"
    elif (side := math.isqrt(found)) ** 2 == found:
        remedy = f"give --shape {side}x{side}, or another file"
    raise LogvarError(
        f"{name} has {found:,} columns: --shape {'x'.join(map(str, shape))} takes {needed:,}; "
        f"{remedy}"
    )


def are_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape are images with their channels first, as in PyTorch.

    Example:
        >>> are_channels_first((3, 64, 64)), are_channels_first((64, 64, 3))
        (True, False)
    """
    return (
        len(shape) == 3
        and shape[0] in (1, 3, 4)
        and shape[2] not in CHANNELS
        and min(shape[1:]) >= _SMALLEST
    )


def channels_last(rows: np.ndarray) -> np.ndarray:
    """Return images (rows, channels, height, width) as (rows, height, width, channels)."""
    return np.ascontiguousarray(np.moveaxis(rows, 1, -1))


def check_channels_last(shape: tuple[int, ...], name: str = "X") -> None:
    """Refuse images with their channels first, which no convolution reads.

    Raises:
        LogvarError: they are; the message names the transpose.
    """
    if are_channels_first(shape):
        raise LogvarError(
            f"{name} has examples of shape {shape}, images with their channels first: expected "
            f"(height, width, channels); give {name}.transpose(0, 2, 3, 1), or network='mlp' to "
            "read them as they are"
        )


def fitting(rows: Rows, shape: tuple[int, ...], name: str = "X") -> Rows:
    """Return rows as examples of the shape that a model was fitted on.

    Flat rows of the same number of values are taken, and an axis of length 1 does not matter; any
    other shape is refused, even with the same number of values, because its pixels would get
    mixed up.

    Raises:
        LogvarError: the shape is another.
    """
    found = rows.shape[1:]
    if isinstance(rows, SparseRows):
        if found == shape:
            return rows
    elif isinstance(rows, StreamedRows):
        if math.prod(found) == math.prod(shape) and (
            len(shape) == 1 or len(found) == 1 or _same(found, shape)
        ):
            return reshaped(rows, shape)
    elif len(shape) == 1 or len(found) == 1:
        if math.prod(found) == math.prod(shape):
            return rows.reshape(-1, *shape)
    elif _same(found, shape):
        return rows.reshape(-1, *shape)
    if len(found) == 1 or len(shape) == 1:
        raise LogvarError(
            f"{name} has {math.prod(found)} features, but VAE is expecting {math.prod(shape)} "
            f"features as input{_as_image(shape)}: resize X, or fit a new model"
        )
    remedy = "resize them, or fit a new model"
    if are_channels_first(found) and _same((*found[1:], found[0]), shape):
        remedy = f"give {name}.transpose(0, 2, 3, 1)"
    raise LogvarError(
        f"{name} has examples of shape {written(found)}, but this model reads {written(shape)}: "
        f"{remedy}"
    )


def reshaped(rows: StreamedRows, shape: tuple[int, ...]) -> StreamedRows:
    """Return a view of streamed rows as examples of another shape with as many values."""
    if rows.shape[1:] == shape:
        return rows
    return rows.converted(lambda some, where: some.reshape(-1, *shape), rows.dtype, shape)


def written(shape: tuple[int, ...]) -> str:
    """Return a shape as text.

    Example:
        >>> written((28, 28, 1))
        '28 × 28 × 1'
    """
    return " × ".join(map(str, shape))


def _as_image(shape: tuple[int, ...]) -> str:
    return f" (examples of shape {written(shape)})" if len(shape) > 1 else ""


def _same(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for axes of length 1."""
    return [n for n in one if n != 1] == [n for n in other if n != 1]


def _numbers(text: str | int) -> tuple[int, ...] | None:
    pieces = re.split(r"\s*[x×X*,]\s*", str(text).strip())
    if not all(re.fullmatch(r"[0-9]{1,5}", piece) for piece in pieces):
        return None
    numbers = tuple(map(int, pieces))
    return numbers if all(0 < n < _LARGEST for n in numbers) else None
