"""One image file → an array, with what was noticed on the way."""

import dataclasses
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logvar.data.images.shapes import Size, covering
from logvar.errors import LogvarError

if TYPE_CHECKING:
    from PIL import Image

# What EXIF's tag 274 says the camera's picture needs in order to be upright.
_ORIENTATION = 274
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
_SIDEWAYS = 5
"""From this orientation on, width and height change places."""
_GREY = ("1", "L", "LA", "La", "I", "F")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


@dataclasses.dataclass(frozen=True)
class Decoded:
    """An image, the kind of its values, and what was noticed."""

    array: np.ndarray
    """(height, width, 1 or 3): uint8, or float32 in [0, 1] (16-bit) or as stored (real)."""
    values: str
    """"8-bit", "16-bit" or "real"."""
    size: Size
    """(width, height), upright, before it was resized."""
    noticed: frozenset[str]
    """Keys of `notes.NOTICED`."""


class BrokenImage(LogvarError):
    """A file that is not a whole image, or has an infinite pixel."""


def decode(path: Path, to: Size | None = None) -> Decoded:
    """Read an image, upright as its EXIF orientation says, and resize it if asked.

    16-bit values x become x / 65535. An alpha channel is composited on white, as viewers and pages
    show the image: the colours under full transparency are arbitrary, so no model should read
    them. Of an animation, the first frame is read.

    Args:
        path: the file.
        to: (width, height): see `resized`.

    Raises:
        BrokenImage: the file is not a whole image, or a pixel is infinite.
    """
    from PIL import Image, UnidentifiedImageError

    noticed: set[str] = set()
    try:
        # Odd metadata are no reason to bother anyone; a broken image is an error below.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.format != "MPO" and getattr(image, "is_animated", False):
                noticed.add("frames")
            size = image.size if image.format in ("JPEG", "MPO") else None
            if to is not None and size is not None:
                # JPEG decodes to a half, a quarter, an eighth of the size in less time.
                image.draft(None, (2 * max(to), 2 * max(to)))
            # Pillow turns a TIFF when it is loaded, and removes the tag.
            before = image.getexif().get(_ORIENTATION, 1) if image.format == "TIFF" else 1
            array, values = _array(image, path, noticed)
            orientation = image.getexif().get(_ORIENTATION, 1)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        EOFError,
        struct.error,
    ) as error:
        raise BrokenImage(
            f"{path} is not a whole image ({_first_line(error)}): repair or remove it"
        ) from error
    if values == "real":
        _check_finite(array, path)
    if orientation in _TURNS:
        array = _TURNS[orientation](array)
        size = size and (size if orientation < _SIDEWAYS else size[::-1])
    if orientation in _TURNS or before in _TURNS:
        noticed.add("turned")
    size = size or (array.shape[1], array.shape[0])
    if to is not None and (size[0] < to[0] or size[1] < to[1]):
        noticed.add("enlarged")
    return Decoded(
        np.ascontiguousarray(array if to is None else resized(array, to)),
        values,
        size,
        frozenset(noticed),
    )


def resized(array: np.ndarray, to: Size) -> np.ndarray:
    """Scale an image until it covers a size, keeping its aspect ratio, and keep the centre.

    Bilinear, with antialiasing where it shrinks: no value leaves the range of the image's own.

    Args:
        array: (height, width, channels), uint8 or float32.
        to: (width, height).
    """
    from PIL import Image

    box = covering((array.shape[1], array.shape[0]), to)
    if array.shape[:2] == to[::-1]:
        return array
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(array[..., channel])).resize(
                to, Image.Resampling.BILINEAR, box=box
            )
        )
        for channel in range(array.shape[2])
    ]
    return np.stack(planes, axis=-1)


def _array(image: "Image.Image", path: Path, noticed: set[str]) -> tuple[np.ndarray, str]:
    """Return (height, width, 1 or 3) and the kind of the values, not yet turned."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _as_unit(np.asarray(image)[..., None]), "16-bit"
    if image.mode in ("I", "F"):
        return np.asarray(image, np.float32)[..., None], "real"
    grey = image.mode in _GREY
    alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    deep = _has_16_bits(image)
    if deep and (low := _low_bytes(image, path)) is not None:
        array, top = np.asarray(image).astype(np.int64) * 256 + low, 65535
    else:
        if deep:
            noticed.add("16 bits as 8")
        converted = image.convert(("LA" if grey else "RGBA") if alpha else "L" if grey else "RGB")
        array = np.asarray(converted).astype(np.int64 if alpha else np.uint8)
        array, top = array.reshape(*array.shape[:2], -1), 255
    if alpha:
        array = _on_white(array, top, noticed)
    return (_as_unit(array), "16-bit") if top == 65535 else (array.astype(np.uint8), "8-bit")


def _check_finite(array: np.ndarray, path: Path) -> None:
    """Refuse infinity; NaN is a pixel that was not observed."""
    bad = np.argwhere(np.isinf(array[..., 0]))
    if len(bad):
        row, column = bad[0]
        raise BrokenImage(
            f"{path} has infinity in {len(bad):,} of {array[..., 0].size:,} pixels, the first at "
            f"row {row}, column {column} (counting from 0): expected finite numbers, or NaN for a "
            "missing pixel; repair or remove it"
        )


def _on_white(array: np.ndarray, top: int, noticed: set[str]) -> np.ndarray:
    """Composite on white: c·a + top·(1 − a), with the opacity a in the last channel."""
    opacity = array[..., -1:]
    noticed.add("opaque" if (opacity == top).all() else "transparent")
    return (array[..., :-1] * opacity + top * (top - opacity) + top // 2) // top


def _as_unit(array: np.ndarray) -> np.ndarray:
    return (array / 65535).astype(np.float32)


def _has_16_bits(image: "Image.Image") -> bool:
    return any(";16" in _raw_mode(tile) for tile in getattr(image, "tile", ()))


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _low_bytes(image: "Image.Image", path: Path) -> np.ndarray | None:
    """Return the lower bytes of a 16-bit colour image, of which Pillow gives the upper ones.

    Pillow has no mode for them, but it has decoders for either order of bytes: with the other
    order, the lower byte is what it takes for the upper one. None if it has no other order.
    """
    from PIL import Image

    native = "L" if sys.byteorder == "little" else "B"
    with Image.open(path) as again:
        tiles = []
        for tile in again.tile:
            mode = _raw_mode(tile)
            if mode[:-1] not in ("RGB;16", "RGBA;16"):
                return None
            order = native if mode[-1] == "N" else mode[-1]
            other = mode[:-1] + ("B" if order == "L" else "L")
            arguments = (other, *tile[3][1:]) if isinstance(tile[3], tuple) else other
            tiles.append(tile._replace(args=arguments))
        again.tile = tiles
        if again.mode != image.mode:
            return None
        return np.asarray(again).astype(np.int64)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
