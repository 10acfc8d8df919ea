"""Images out of the commands: arrays in the data's own units, and PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logvar.cli.console import say
from logvar.data import arrays
from logvar.data.images import pixels, write_grid, write_pictures
from logvar.data.images.reading import ImageReading
from logvar.data.images.writing import are_images, check_empty, check_levels, own_units
from logvar.data.paths import is_of_pictures
from logvar.data.standardization import Standardization
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


def write(
    vae: VAE, out: Path, values: np.ndarray, names: Sequence[str] = (), what: str = "E[x | z]"
) -> None:
    """Write examples in the data's own units: PNG files, or an array or a table.

    Args:
        vae: the model they come from.
        out: a folder, a .png file, or a file for `arrays.write`.
        values: rows as `VAE` returns them. Filled images are intensities beside the observed ones:
            of a model of pixels, they become pixels here.
        names: the files that the rows come from, if they do.
        what: what they are, in words.
    """
    fitted = vae.fitted_
    reading = ImageReading.from_text(fitted.recipe.data.reading)
    values = own_units(values, fitted.dtype, fitted.preparation.divisor, binary=fitted.is_binary)
    shape = values.shape[1:]
    if not is_of_pictures(out):
        if reading is not None and reading.channels_first and out.suffix.lower() == ".npy":
            values = np.moveaxis(values, -1, 1)
        arrays.write(out, values, fitted.features)
        say(f"{out}: {len(values):,} × {what}, each of shape {values.shape[1:]}, {values.dtype}")
        return
    deep = reading is not None and reading.values == "16-bit"
    levels = pixels(values, *_limits(fitted), sixteen_bits=deep)
    if out.suffix.lower() == ".png":
        write_grid(out, levels)
        say(f"{out}: {len(levels):,} images in one, {what}, each of shape {shape}")
    else:
        write_pictures(out, levels, names)
        say(f"{out}: {len(levels):,} PNG files, {what}, each of shape {shape}")


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
