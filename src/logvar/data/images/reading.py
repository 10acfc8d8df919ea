"""A folder of images → arrays, and the reading by which later folders become the same."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from logvar.data.images import notes
from logvar.data.images.decoding import BrokenImage, Decoded, decode
from logvar.data.images.folder import listed
from logvar.data.images.shapes import Size, shape_of, size_of, written
from logvar.errors import LogvarError

_AT_ONCE = 256
VALUES = ("8-bit", "16-bit", "unit", "real")
"""uint8; x / 65535 in [0, 1]; real numbers in [0, 1]; any real numbers."""


@dataclasses.dataclass(frozen=True)
class ImageReading:
    """How images became examples, fixed when a model is fitted.

    Example:
        >>> reading = ImageReading((64, 64, 3), "8-bit", resized=True)
        >>> reading.as_text()
        'shape=64x64x3 values=8-bit resized=yes'
        >>> ImageReading.from_text(reading.as_text()) == reading
        True
    """

    shape: tuple[int, ...]
    """(height, width[, channels]) of one example."""
    values: str = "8-bit"
    """One of `VALUES`."""
    resized: bool = False
    """Whether images of other sizes are scaled to this one."""
    channels_first: bool = False
    """Whether the source has its channels first."""

    def __post_init__(self) -> None:
        if self.values not in VALUES:
            raise LogvarError(
                f"reading has values {self.values!r}: expected one of {', '.join(VALUES)}; "
                "the recipe was changed"
            )

    @property
    def size(self) -> Size:
        """(width, height)."""
        return (self.shape[1], self.shape[0])

    @property
    def channels(self) -> int:
        return self.shape[2] if len(self.shape) == 3 else 1

    def as_dict(self) -> dict[str, str]:
        """Return the reading as plain text by name, without what has its default."""
        found = {"shape": "x".join(map(str, self.shape)), "values": self.values}
        flags = {"resized": self.resized, "channels_first": self.channels_first}
        return found | {name: "yes" for name, value in flags.items() if value}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "ImageReading":
        """Return the reading of `as_dict`.

        Raises:
            LogvarError: an entry is missing, unknown or not possible.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        shape = shape_of(str(entries.get("shape", "")))
        if shape is None or entries.keys() - names:
            raise LogvarError(
                f"reading is {dict(entries)!r}: expected a shape, and otherwise only "
                f"{', '.join(sorted(names))}; the recipe was changed"
            )
        return cls(
            shape,
            str(entries.get("values", "8-bit")),
            entries.get("resized", "no") == "yes",
            entries.get("channels_first", "no") == "yes",
        )

    def as_text(self) -> str:
        """Return the reading as one line, for a recipe."""
        return " ".join(f"{name}={value}" for name, value in self.as_dict().items())

    @classmethod
    def from_text(cls, text: str) -> "ImageReading | None":
        """Return the reading of `as_text`; None for an empty text.

        Raises:
            LogvarError: the text is no reading.
        """
        entries = dict(pair.partition("=")[::2] for pair in text.split())
        return cls.from_dict(entries) if entries else None


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a folder as arrays of one shape."""

    train: np.ndarray
    """(rows, height, width, channels): uint8, or float32."""
    test: np.ndarray | None
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    names: tuple[str, ...]
    """The file of each row of `train`, relative to the folder."""
    test_names: tuple[str, ...]
    reading: ImageReading
    notes: tuple[str, ...]
    """Remarks for the user about the reading, one line each."""


def read_folder(
    folder: Path, resize: str | int = "", reading: ImageReading | None = None
) -> Images:
    """Read all images of a folder.

    Args:
        folder: the folder; see `folder.listed` for which files count.
        resize: "64" or "64x48", width first: scale each image until it covers this size and keep
            its centre. By default all images must have one size.
        reading: that of a fitted model, which then decides sizes, channels and values.

    Raises:
        LogvarError: there are no images, some are broken, or their sizes or values do not go
            together or with the reading.
    """
    listing = listed(folder)
    to = size_of(resize)
    if reading is not None:
        to = reading.size if reading.resized else None
    names = listing.train + listing.test
    decoded = _decoded(folder, names, to, reading)
    values = _values(names, decoded, reading)
    channels = reading.channels if reading else max(d.array.shape[2] for d in decoded)
    found = ImageReading(
        (*decoded[0].array.shape[:2], channels),
        reading.values if reading else values,
        resized=to is not None,
    )
    rows = _stacked(decoded, found)
    said = notes.of_images(names, decoded, found, rows)
    n = len(listing.train)
    return Images(
        rows[:n],
        rows[n:] if listing.test else None,
        _names(listing.train_labels),
        _names(listing.test_labels),
        listing.train,
        listing.test,
        found,
        (*listing.notes, *said),
    )


def described(
    folder: Path, names: tuple[str, ...], to: Size | None, reading: ImageReading | None
) -> ImageReading:
    """Return how images become rows, from decoding each of them once and keeping none.

    Raises:
        LogvarError: some are broken, or their sizes or values do not go together.
    """
    channels = 1
    kinds: dict[str, tuple[str, Decoded]] = {}
    size: Size | None = None
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        decoded = _decoded(folder, some, to, reading)
        size = size or decoded[0].size
        other = next((n for n, d in zip(some, decoded, strict=True) if d.size != size), None)
        if to is None and other is not None:
            raise LogvarError(
                f"{folder / other} has another size than {names[0]} ({written(size)}): expected "
                f"images of one size; give --resize {_proposed([size])} to scale them all to it"
            )
        channels = max(channels, *(d.array.shape[2] for d in decoded))
        # One image of each kind of values stands for them all, reals with their ends.
        for name, image in zip(some, decoded, strict=True):
            ends = _ends(image.array)
            before = kinds.get(image.values)
            if before is not None:
                both = np.concatenate([before[1].array, ends])
                ends, name = _ends(both), before[0]
            kinds[image.values] = (name, dataclasses.replace(image, array=ends))
    shape = decoded[0].array.shape[:2]
    values = _values(
        tuple(name for name, _ in kinds.values()), [image for _, image in kinds.values()], reading
    )
    return ImageReading(
        (*shape, reading.channels if reading else channels),
        reading.values if reading else values,
        resized=to is not None,
    )


def _ends(values: np.ndarray) -> np.ndarray:
    """Return the smallest and the largest; NaN, without a warning, if all are missing."""
    return np.array([np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)])


def rows_of_files(folder: Path, names: tuple[str, ...], reading: ImageReading) -> np.ndarray:
    """Decode some images of a folder as rows of a reading.

    Raises:
        LogvarError: one is broken, or of another size.
    """
    to = reading.size if reading.resized else None
    decoded = [image for name in names for image in _decoded(folder, (name,), to, reading)]
    return _stacked(decoded, reading)


def _names(labels: tuple[str, ...]) -> np.ndarray | None:
    return np.array(labels) if labels else None


def _decoded(
    folder: Path, names: tuple[str, ...], to: Size | None, reading: ImageReading | None
) -> list[Decoded]:
    """Decode all files; all problems are reported together."""
    decoded: list[Decoded] = []
    broken: list[BrokenImage] = []
    sizes: dict[Size, list[str]] = collections.defaultdict(list)
    expected = reading.size if reading is not None and to is None else None
    for name in names:
        try:
            image = decode(folder / name, to)
        except BrokenImage as error:
            broken.append(error)
            continue
        sizes[image.size].append(name)
        # With sizes that differ, no array is needed any more, only counts.
        if to is not None or len(sizes) == 1:
            decoded.append(image)
        else:
            decoded.clear()
    if broken:
        more = f", and {len(broken) - 1:,} more of {len(names):,}" if len(broken) > 1 else ""
        raise LogvarError(f"{broken[0]}{more}") from broken[0]
    if to is not None:
        return decoded
    if expected is not None and set(sizes) != {expected}:
        other = next(size for size in sizes if size != expected)
        raise LogvarError(
            f"{folder / sizes[other][0]} is {written(other)}, but this run reads images of "
            f"{written(expected)} (width × height): resize them, or fit with --resize"
        )
    if len(sizes) > 1:
        raise LogvarError(
            f"{folder} has images of {len(sizes):,} sizes ({notes.most_frequent(sizes)}): expected "
            f"images of one size; give --resize {_proposed(sizes)} to scale them all to it"
        )
    return decoded


def _proposed(sizes: Iterable[Size]) -> int:
    shortest = min(itertools.chain.from_iterable(sizes))
    return next((n for n in (64, 32, 28) if n <= shortest), shortest)


def _values(names: tuple[str, ...], decoded: list[Decoded], reading: ImageReading | None) -> str:
    """Return the kind of values of all images together, one of `VALUES`."""
    kinds = {image.values: name for name, image in zip(names, decoded, strict=True)}
    values = "16-bit" if "16-bit" in kinds else "8-bit"
    if "real" in kinds:
        reals = [image.array for image in decoded if image.values == "real"]
        low, high = _ends(np.array([_ends(array) for array in reals]))
        values = "unit" if low >= 0 and high <= 1 else "real"
        if values == "real" and len(kinds) > 1:
            other = next(kind for kind in kinds if kind != "real")
            raise LogvarError(
                f"{kinds['real']} holds real numbers (all of them from {low:g} to {high:g}) and "
                f"{kinds[other]} has {other} values: expected one kind, or numbers in [0, 1]; "
                "convert one of them"
            )
    if reading is not None and (values == "real") != (reading.values == "real"):
        if reading.values != "real":
            raise LogvarError(
                f"{kinds['real']} holds real numbers outside [0, 1], but this run reads "
                f"{reading.values} images: convert it"
            )
        if values != "unit":
            raise LogvarError(
                f"{kinds[values]} has {values} values, but this run reads real numbers from TIFF: "
                "convert it"
            )
    return values


def _stacked(decoded: list[Decoded], reading: ImageReading) -> np.ndarray:
    """Return one array of the reading's shape and kind of values."""
    pixels = reading.values == "8-bit"
    rows = np.empty((len(decoded), *reading.shape), np.uint8 if pixels else np.float32)
    for row, image in zip(rows, decoded, strict=True):
        array = image.array
        if pixels and image.values != "8-bit":
            array = np.round(array.clip(0, 1) * 255)
        elif not pixels and image.values == "8-bit":
            array = (array / 255).astype(np.float32)
        row[...] = _of_channels(array, reading.channels)
    return rows


def _of_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """Grey repeated in each channel, or colours as their luma (ITU-R BT.601) where grey is read."""
    if array.shape[2] == channels or array.shape[2] == 1:
        return np.broadcast_to(array, (*array.shape[:2], channels))
    grey = array @ np.array([0.299, 0.587, 0.114])
    return (np.round(grey) if array.dtype == np.uint8 else grey)[..., None]
