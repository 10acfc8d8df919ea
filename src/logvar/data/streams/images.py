"""Images of a folder, each decoded when its row is needed."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int

from logvar.backend.streamed import StreamedRows, Where
from logvar.data.images.folder import Listing, listed
from logvar.data.images.reading import ImageReading, Images, described, read_folder, rows_of_files
from logvar.data.images.shapes import size_of
from logvar.data.streams.files import Opened
from logvar.data.windows import window_for


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Rows of images."""

    folder: Path
    names: tuple[str, ...]
    reading: ImageReading
    stamps: Int[np.ndarray, "files 2"]
    """The size of each file and its time of change when the folder was opened."""

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.names), *self.reading.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.reading.values == "8-bit" else np.float32)

    def read(self, where: Where) -> np.ndarray:
        rows = np.arange(where.start, where.stop) if isinstance(where, slice) else where
        names = tuple(self.names[i] for i in rows)
        for name, (size, changed) in zip(names, self.stamps[rows].tolist(), strict=True):
            Opened(self.folder / name, size, changed).check()
        return rows_of_files(self.folder, names, self.reading)

    def check(self) -> None:
        """Each file is checked when it is decoded."""


def open_folder(
    folder: Path,
    resize: str | int = "",
    reading: ImageReading | None = None,
    window: int | str = "all",
) -> tuple[Images, StreamedRows | None]:
    """Read a folder of images, or leave its training images where they are.

    Returns (all that is known of them, the training rows that are decoded when they are needed):
    the latter is None if all rows are shuffled at once, and then the images are in the former.

    Args:
        folder: the folder.
        resize: as `read_folder` has it.
        reading: that of a fitted run.
        window: rows that are shuffled at a time.

    Raises:
        LogvarError: as `read_folder`.
    """
    listing = listed(folder)
    to = size_of(resize)
    if reading is not None:
        to = reading.size if reading.resized else None
    if window == "all" or not _is_large(folder, listing, to, reading, window):
        return read_folder(folder, resize, reading), None
    opened = (Opened.of(folder / name) for name in listing.train)
    stamps = np.array([(one.size, one.changed) for one in opened], np.int64)
    found = described(folder, listing.train + listing.test, to, reading)
    test = rows_of_files(folder, listing.test, found) if listing.test else None
    rest = Images(
        np.empty((0, *found.shape), np.uint8),
        test,
        np.array(listing.train_labels) if listing.train_labels else None,
        np.array(listing.test_labels) if listing.test_labels else None,
        listing.train,
        listing.test,
        found,
        listing.notes,
    )
    return rest, StreamedRows(ImageFiles(folder, listing.train, found, stamps))


def _is_large(
    folder: Path,
    listing: Listing,
    to: tuple[int, int] | None,
    reading: ImageReading | None,
    window: int | str,
) -> bool:
    """Return whether not all rows are shuffled at once, judged by the first image."""
    first = described(folder, listing.train[:1], to, reading)
    size = int(np.prod(first.shape)) * (1 if first.values == "8-bit" else 4)
    n = len(listing.train)
    return not window_for(window, n, size).is_all_of(n)
