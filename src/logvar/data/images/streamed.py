"""Streamed rows of flat or channels-first pixels as images, converted as they are read."""

import numpy as np

from logvar.backend.streamed import StreamedRows
from logvar.data.facts import facts_of
from logvar.data.images.arrays import read_as_images
from logvar.data.images.reading import ImageReading
from logvar.data.images.shapes import (
    are_channels_first,
    channels_last,
    reshaped,
    shape_of,
    shaped,
    written,
)


def streamed_as_images(
    rows: StreamedRows, shape: str, reading: ImageReading | None, name: str
) -> tuple[StreamedRows, ImageReading | None, tuple[str, ...]]:
    """Give streamed rows the shape of images, as `read_as_images` does it in memory.

    Args:
        rows: the rows.
        shape: "28x28" or "32x32x3"; the shape of one example.
        reading: that of a fitted model, instead of `shape`.
        name: the source, for messages.

    Raises:
        LogvarError: the rows do not have this shape, or not these values.
    """
    if reading is not None:
        first, _, _ = read_as_images(rows[:1], shape, reading, name)
        read = rows.converted(
            lambda some, where: read_as_images(some, shape, reading, name)[0],
            first.dtype,
            first.shape[1:],
        )
        return read, reading, ()
    asked = shape_of(shape)
    if asked is not None:
        shaped(rows[:1], asked, name)  # which checks it
        images, notes = (
            reshaped(rows, asked),
            [f"{rows.shape[1]:,} columns are examples of shape {written(asked)}"],
        )
        values = "8-bit"
        if rows.dtype != np.uint8:
            found = facts_of(rows)
            low, high = found.low.min(), found.high.max()
            if low >= 0 and 1 < high <= 255 and found.whole.all():
                images = images.converted(lambda some, where: some.astype(np.uint8), np.uint8)
                notes.append("integers from 0 to 255: read as pixels (uint8)")
            else:
                values = "unit" if low >= 0 and high <= 1 else "real"
        return images, ImageReading(asked, values), tuple(notes)
    if are_channels_first(rows.shape[1:]):
        moved = channels_last(rows[:1]).shape[1:]
        images = rows.converted(lambda some, where: channels_last(some), rows.dtype, moved)
        values = "8-bit"
        if rows.dtype != np.uint8:
            found = facts_of(rows)
            values = "unit" if found.low.min() >= 0 and found.high.max() <= 1 else "real"
        note = (
            f"examples of shape {written(rows.shape[1:])} have their channels first: read as "
            f"{written(moved)}"
        )
        return images, ImageReading(moved, values, channels_first=True), (note,)
    return rows, None, ()
