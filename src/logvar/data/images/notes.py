"""Notes about the images that were read, one line each."""

import collections
import types
from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING

import numpy as np

from logvar.data.images.decoding import Decoded
from logvar.data.images.shapes import Size, written

if TYPE_CHECKING:
    from logvar.data.images.reading import ImageReading

NOTICED: Mapping[str, str] = types.MappingProxyType(
    {
        "turned": "turned upright, as the EXIF orientation says",
        "transparent": "transparent in places: composited on white",
        "opaque": "with an alpha channel that is opaque everywhere: it is left out",
        "frames": "of several frames: the first one is read",
        "16 bits as 8": "of 16 bits with 8 of them read (Pillow reads no more of this kind)",
        "enlarged": "smaller than asked for: enlarged",
    }
)


def of_images(
    names: Sequence[str], decoded: Sequence[Decoded], reading: "ImageReading", rows: np.ndarray
) -> tuple[str, ...]:
    """Return the lines about these images."""
    said = []
    if reading.resized:
        sizes = collections.defaultdict(list)
        for name, image in zip(names, decoded, strict=True):
            sizes[image.size].append(name)
        if set(sizes) != {reading.size}:
            many = f"{len(sizes):,} sizes ({most_frequent(sizes)})" if len(sizes) > 1 else ""
            said.append(
                f"resized from {many or written(next(iter(sizes)))} to {written(reading.size)}, "
                "width × height: scaled to cover it, then the centre"
            )
    for key, text in NOTICED.items():
        those = [n for n, d in zip(names, decoded, strict=True) if key in d.noticed]
        if those:
            said.append(f"{_images(len(those))} {text} ({those[0]}{_more(those)})")
    grey = [n for n, d in zip(names, decoded, strict=True) if d.array.shape[2] == 1]
    if reading.channels == 1 and len(grey) < len(names):
        said.append(f"{_images(len(names) - len(grey))} in colour: read as grey")
    elif reading.channels == 3 and grey:
        said.append(f"{_images(len(grey))} grey: the same in all three channels")
    return (*said, *_values(decoded, reading, rows))


def most_frequent(sizes: Mapping[Size, Sized], shown: int = 3) -> str:
    """Return the most frequent sizes, each with how many images have it."""
    ordered = sorted(sizes, key=lambda size: -len(sizes[size]))
    text = ", ".join(f"{written(size)}: {len(sizes[size]):,}" for size in ordered[:shown])
    return text + (", …" if len(ordered) > shown else "")


def _values(
    decoded: Sequence[Decoded], reading: "ImageReading", rows: np.ndarray
) -> tuple[str, ...]:
    kinds = collections.Counter(image.values for image in decoded)
    if reading.values == "8-bit":
        if kinds.keys() == {"8-bit"}:
            return ()
        others = len(decoded) - kinds["8-bit"]
        return (f"{_images(others)} of more than 8 bits: rounded to the 8 this run reads",)
    low, high = np.nanmin(rows), np.nanmax(rows)
    if reading.values == "16-bit":
        said = "16-bit images: a value x is read as x / 65535"
        if high < 1 / 8:
            said += f"; the brightest is {high * 65535:.0f} of 65535, so all of them are dark"
        return (said,)
    return (f"real numbers from {low:g} to {high:g}: kept as they are",)


def _images(n: int) -> str:
    return f"{n:,} image{'' if n == 1 else 's'}"


def _more(names: Sequence[str]) -> str:
    return ", …" if len(names) > 1 else ""
