"""Images out: arrays in the data's own units, folders of PNG files, one PNG of all."""

import collections
import io
import math
import os
import shutil
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from logvar.errors import LogvarError
from logvar.storage.files import write_atomically, writing

ENDING = ".png"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type by the number of channels."""


def are_images(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape can be shown as images.

    Example:
        >>> are_images((28, 28)), are_images((8, 8, 3)), are_images((5,)), are_images((9, 9, 9))
        (True, True, False, False)
    """
    return len(shape) in (2, 3) and (len(shape) == 2 or shape[2] in _COLOURS)


def own_units(
    values: np.ndarray, dtype: str, divisor: float, *, binary: bool = False
) -> np.ndarray:
    """Return what a model gives in the units and the dtype of its data.

    Args:
        values: x or E[x | z] in the model's units.
        dtype: the dtype of the data.
        divisor: 255 if the model read pixels x as intensities x / 255; otherwise 1.
        binary: whether all data are 0 or 1: then a model gives their probabilities, which stay.

    Example:
        >>> own_units(np.array([0.0, 0.5, 1.0]), "uint8", 255.0)
        array([  0, 128, 255], dtype=uint8)
    """
    if dtype != "uint8" or values.dtype == np.uint8 or binary:
        return values
    return np.round(np.asarray(values, np.float64) * divisor).clip(0, 255).astype(np.uint8)


def pixels(
    values: np.ndarray, low: float, high: float, *, sixteen_bits: bool = False
) -> np.ndarray:
    """Return images (rows, height, width, channels) as the levels of a PNG file.

    Args:
        values: (rows, height, width[, channels]) in the data's own units.
        low: the smallest value of the training data.
        high: the largest one. Data within [0, 1] are intensities, data within [0, 255] levels.
        sixteen_bits: whether intensities become 65,535 levels, instead of 255.

    Raises:
        LogvarError: the data are no intensities, so that no level is theirs.
    """
    if values.ndim == 3:
        values = values[..., None]
    if values.dtype == np.uint8 and high > 1:
        return values
    check_levels(low, high)
    top = 65535 if sixteen_bits else 255
    unit = np.asarray(values, np.float64) / (1 if high <= 1 else 255)
    return np.round(unit.clip(0, 1) * top).astype(np.uint16 if sixteen_bits else np.uint8)


def check_levels(low: float, high: float) -> None:
    """Check that data from low to high are intensities in [0, 1] or levels in [0, 255].

    Raises:
        LogvarError: they are neither, so that no level of an image is theirs.
    """
    if low < 0 or high > 255:
        raise LogvarError(
            f"the data have values from {low:g} to {high:g}, and PNG holds only 0 to 255: give "
            "--out FILE.npy, which keeps them"
        )


def encoded(image: np.ndarray) -> bytes:
    """Return one image (height, width, 1 to 4), uint8 or uint16, as the bytes of a PNG file."""
    height, width, channels = image.shape
    depth = 8 * image.dtype.itemsize
    levels = np.ascontiguousarray(image.astype(image.dtype.newbyteorder(">")))
    # Each row begins with its filter: none.
    lines = np.zeros((height, 1 + width * channels * image.dtype.itemsize), np.uint8)
    lines[:, 1:] = levels.view(np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOURS[channels], 0, 0, 0)
    file = io.BytesIO()
    file.write(_SIGNATURE)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    for kind, content in chunks:
        file.write(struct.pack(">I", len(content)) + kind + content)
        file.write(struct.pack(">I", zlib.crc32(kind + content)))
    return file.getvalue()


def write_pictures(folder: Path, levels: np.ndarray, names: Sequence[str] = ()) -> None:
    """Write each image as a PNG file: by its name, or as 00000.png, 00001.png, …

    Args:
        folder: a new or an empty folder.
        levels: (rows, height, width, channels), uint8 or uint16, as `pixels` returns them.
        names: for each row the file it came from; `cats/1.jpg` becomes `cats/1.png`.

    Raises:
        LogvarError: the folder has files already, or cannot be written.
    """
    with PictureFolder(folder, len(levels), names) as pictures:
        pictures.append(levels)


class PictureFolder:
    """A folder of PNG files that is written image by image, and appears when all are there.

    Args:
        folder: a new or an empty folder.
        rows: how many images there will be.
        names: as in `write_pictures`.

    Raises:
        LogvarError: the folder has files already, or cannot be written.
    """

    def __init__(self, folder: Path, rows: int, names: Sequence[str] = ()):
        check_empty(folder)
        self._folder = folder
        self._unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        self._names = iter(file_names(rows, names))

    def append(self, levels: np.ndarray) -> None:
        """Write the next images, (rows, height, width, channels)."""
        with writing(self._folder):
            for image in levels:
                path = self._unfinished / next(self._names)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(image))

    def __enter__(self) -> "PictureFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                with writing(self._folder):
                    os.replace(self._unfinished, self._folder)
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)


def write_grid(path: Path, levels: np.ndarray) -> None:
    """Write all images into one PNG file, row by row, with a line of white between them."""
    count, height, width, channels = levels.shape
    columns = math.ceil(math.sqrt(count * height / width))
    columns = max(1, min(count, columns))
    rows = math.ceil(count / columns)
    top = np.iinfo(levels.dtype).max
    canvas = np.full(
        (rows * (height + 1) - 1, columns * (width + 1) - 1, channels), top, levels.dtype
    )
    for i, image in enumerate(levels):
        y, x = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[y : y + height, x : x + width] = image
    write_atomically(path, encoded(canvas))


def check_empty(folder: Path) -> None:
    """Refuse a folder that has files, among which those of two calls would mingle.

    Raises:
        LogvarError: it has files, or is none.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "has files already" if folder.is_dir() else "is a file"
        raise LogvarError(f"--out {folder} {what}: give a new folder, or a file ending in .png")


def file_names(rows: int, names: Sequence[str] = ()) -> list[str]:
    """Return the name of the PNG file of each row.

    Example:
        >>> file_names(2), file_names(3, ["a/1.jpg", "a/2.png", "a/2.gif"])
        (['00000.png', '00001.png'], ['a/1.png', 'a/2.png.png', 'a/2.gif.png'])
    """
    if len(names) != rows:
        return [f"{i:05d}{ENDING}" for i in range(rows)]
    found = [str(PurePosixPath(name).with_suffix(ENDING)) for name in names]
    times = collections.Counter(found)
    return [
        f"{name}{ENDING}" if times[new] > 1 else new for name, new in zip(names, found, strict=True)
    ]
