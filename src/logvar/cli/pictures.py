"""Images out of the commands: arrays in the data's own units, and PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logvar.data import arrays
from logvar.data.images import pixels, write_grid
from logvar.data.images.reading import ImageReading
from logvar.data.images.writing import (
    PictureFolder,
    are_images,
    check_empty,
    check_levels,
    own_units,
)
from logvar.data.paths import is_of_pictures
from logvar.data.standardization import Standardization
from logvar.data.table.writing import TableWriter
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.fitted import Fitted


def check_images(vae: VAE, out: Path) -> bool:
    """Check that PNG files are asked of a run of images; return whether they show E[x | z].

    A model that reads intensities draws black or white pixels, which no photo has: its pictures
    show the intensities themselves. Everything else is drawn.

    Raises:
        LogvarError: the run is one of rows, or the folder has files.
    """
    if not is_of_pictures(out):
        return False
    fitted = vae.fitted_
    if not are_images(fitted.shape):
        raise LogvarError(
            f"--out {out} is for PNG files, but this run has examples of shape {fitted.shape}, "
            "which are no images: give a .csv, .parquet or .npy file"
        )
    if out.suffix.lower() != ".png":
        check_empty(out)
    _limits(fitted)
    return fitted.likelihood.reads_intensities and fitted.preparation.binarization == "none"


class Examples:
    """Examples in the data's own units, written one block after another: PNG files, or an array.

    Args:
        vae: the model they come from.
        out: a folder, a .png file, or a file of an array or a table.
        rows: how many there will be.
        names: the files that the rows come from, if they do.
        what: what they are, in words.
    """

    said = ""
    """A description of the files that were written."""

    def __init__(
        self, vae: VAE, out: Path, rows: int, names: Sequence[str] = (), what: str = "E[x | z]"
    ):
        fitted = vae.fitted_
        reading = ImageReading.from_text(fitted.recipe.data.reading)
        self._fitted, self._out, self._rows, self._what = fitted, out, rows, what
        self._channels_first = reading is not None and reading.channels_first
        self._deep = reading is not None and reading.values == "16-bit"
        self._levels: list[np.ndarray] = []
        self._writer: Any = None
        if out.suffix.lower() == ".npy":
            self._writer = arrays.ArrayWriter(out, rows)
        elif not is_of_pictures(out):
            self._writer = TableWriter(out)
        elif out.suffix.lower() != ".png":
            self._writer = PictureFolder(out, rows, names)

    def append(self, values: np.ndarray) -> None:
        """Write the next rows, as `VAE` returns them.

        Filled images are intensities beside the observed ones: of a model of pixels, they become
        pixels here.
        """
        fitted = self._fitted
        divisor = fitted.preparation.divisor
        values = own_units(values, fitted.dtype, divisor, binary=fitted.is_binary)
        shape = values.shape[1:]
        if is_of_pictures(self._out):
            levels = pixels(values, *_limits(fitted), sixteen_bits=self._deep)
            many = "PNG files" if self._writer is not None else "images in one"
            self.said = f"{self._rows:,} {many}, {self._what}, each of shape {shape}"
            self._levels.append(levels) if self._writer is None else self._writer.append(levels)
        else:
            is_npy = isinstance(self._writer, arrays.ArrayWriter)
            if self._channels_first and is_npy:
                values = np.moveaxis(values, -1, 1)
            kind = f"each of shape {values.shape[1:]}, {values.dtype}"
            self.said = f"{self._rows:,} × {self._what}, {kind}"
            self._writer.append(values if is_npy else arrays.as_columns(values, fitted.features))
        self.said = f"{self._out}: {self.said}"

    def __enter__(self) -> "Examples":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, *rest)
        elif kind is None:
            write_grid(self._out, np.concatenate(self._levels))


def _limits(fitted: Fitted) -> tuple[float, float]:
    """The range of the training data in their own units, as far as it decides what a level is."""
    if fitted.dtype == "uint8":
        return (0.0, 1.0) if fitted.is_binary else (0.0, 255.0)
    found = fitted.units
    if not isinstance(found, Standardization):
        return (0.0, 1.0)
    # The encoder is trusted as far again on both sides as the data reach.
    reach = (found.high - found.low) / 3
    ends = (found.low + reach, found.high - reach)
    smallest, largest = (found.shift + found.factor * end for end in ends)
    low, high = (round(float(end), 6) for end in (smallest.min(), largest.max()))
    check_levels(low, high)
    return low, high
