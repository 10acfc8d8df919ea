"""Arrays and tables of pixels → images: flat rows get a shape, channels go last."""

import numpy as np

from logvar.data.images.reading import ImageReading
from logvar.data.images.shapes import are_channels_first, channels_last, shape_of, shaped, written
from logvar.errors import LogvarError


def read_as_images(
    rows: np.ndarray, shape: str = "", reading: ImageReading | None = None, name: str = "X"
) -> tuple[np.ndarray, ImageReading | None, tuple[str, ...]]:
    """Return rows as images if something says that they are, the reading, and what to tell.

    - `shape`, or the reading, gives flat rows their shape. Integers from 0 to 255 among them are
      pixels (uint8), as a CSV file has no other way to say so.
    - Images with their channels first, as PyTorch stores them, get them last.

    Everything else is returned as it is, with no reading.

    Args:
        rows: (rows, …) as the source has them.
        shape: "28x28" or "32x32x3"; the shape of one example.
        reading: that of a fitted model, instead of `shape`.
        name: the source, for messages.

    Raises:
        LogvarError: the rows do not have this shape, or not these values.
    """
    if rows.ndim < 2 or rows.dtype.kind not in "fiub" or rows.size == 0:
        return rows, reading, ()  # refused later, in the words for any array
    if reading is not None:
        return _again(rows, reading, name), reading, ()
    asked = shape_of(shape)
    if asked is not None:
        images = shaped(rows, asked, name)
        notes = [f"{rows.shape[1]:,} columns are examples of shape {written(asked)}"]
        if images.dtype != np.uint8 and _are_pixels(images):
            images = images.astype(np.uint8)
            notes.append("integers from 0 to 255: read as pixels (uint8)")
        return images, ImageReading(asked, _values_of(images)), tuple(notes)
    if are_channels_first(rows.shape[1:]):
        images = channels_last(rows)
        found = ImageReading(images.shape[1:], _values_of(images), channels_first=True)
        note = (
            f"examples of shape {written(rows.shape[1:])} have their channels first: read as "
            f"{written(found.shape)}"
        )
        return images, found, (note,)
    return rows, None, ()


def _again(rows: np.ndarray, reading: ImageReading, name: str) -> np.ndarray:
    """Read rows as those that a model was fitted on."""
    if reading.channels_first and are_channels_first(rows.shape[1:]):
        rows = channels_last(rows)
    if rows.ndim > 2:
        return rows
    images = shaped(rows, reading.shape, name)
    if reading.values != "8-bit" or images.dtype == np.uint8:
        return images
    if images.dtype.kind == "f" and np.isnan(images).any():
        raise LogvarError(
            f"{name} has missing cells, and this run reads pixels (uint8), which have none: fill "
            "them, or leave these rows out"
        )
    # Whatever the rows beside it: a row of 0 and 1 holds two dark levels, not black and white.
    if not _within(images, 255.0) or (images != np.round(images)).any():
        raise LogvarError(
            f"{name} has values from {images.min():g} to {images.max():g}: this run reads pixels, "
            "integers from 0 to 255; rescale them"
        )
    return images.astype(np.uint8)


def _values_of(images: np.ndarray) -> str:
    if images.dtype == np.uint8:
        return "8-bit"
    return "unit" if _within(images, 1.0) else "real"


def _are_pixels(rows: np.ndarray) -> bool:
    return _within(rows, 255.0) and bool(rows.max() > 1) and bool((rows == np.round(rows)).all())


def _within(rows: np.ndarray, high: float) -> bool:
    return bool(rows.min() >= 0 and rows.max() <= high)
