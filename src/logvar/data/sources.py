"""DATA on the command line → arrays: built-in names and paths."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from logvar.data import idx, tables
from logvar.data.images import arrays
from logvar.data.images.reading import ImageReading, read_folder
from logvar.data.paths import BUILT_IN, check_readable
from logvar.errors import LogvarError

_ROWS_AT_ONCE = 4096
_READERS = {
    ".npy": tables.read_npy,
    ".npz": tables.read_npz,
    ".csv": tables.read_csv,
    ".parquet": tables.read_parquet,
}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows and their labels and test set, as far as the source has them."""

    name: str
    train: np.ndarray
    test: np.ndarray | None = None
    """The source's own test set, if it has one; training never sees it."""
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    """What a user should know about how the source was read, one line each."""
    names: tuple[str, ...] = ()
    """The file of each training row, if each has its own."""
    test_names: tuple[str, ...] = ()
    reading: ImageReading | None = None
    """How images became rows, if that was more than reading an array."""


def load(
    source: str,
    data_dir: str | None = None,
    resize: str | int = "",
    shape: str = "",
    reading: str = "",
) -> Dataset:
    """Load a data set.

    Args:
        source: `digits`, `mnist`, or the path of a .npy, .npz, .csv or .parquet file, a folder of
            images or a folder with IDX files.
        data_dir: the folder to look for `mnist` in; otherwise the variable LOGVAR_DATA.
        resize: for a folder of images, the size to scale them to: "64", or "64x48" (width first).
        shape: for an array or a table of flat pixels, the shape of one example: "28x28".
        reading: `ImageReading.as_text()` of a fitted run: read as that run did.

    Raises:
        LogvarError: the name is unknown, the file cannot be read in the format of its ending, or
            `resize` or `shape` do not go with it.
    """
    fixed = ImageReading.from_text(reading)
    if source not in BUILT_IN:
        check_readable(source)
        path = Path(source)
        if path.is_dir() and not idx.is_idx_folder(path):
            return _from_images(path, resize, shape, fixed)
    if resize:
        raise LogvarError(
            f"resize is {resize!r}, but {source} is no folder of images: leave out --resize, or "
            "give the folder"
        )
    if source == "digits":
        found = _digits()
    elif source == "mnist":
        found = _from_idx("mnist", idx.mnist_folder(data_dir))
    elif path.is_dir():
        found = _from_idx(path.name, path)
    else:
        found = Dataset(path.stem, _READERS[path.suffix.lower()](path))
    rows, how, notes = arrays.read_as_images(found.train, shape, fixed, found.name)
    test = found.test
    if test is not None and how is not None:
        test = arrays.read_as_images(test, shape, how, found.name)[0]
    return dataclasses.replace(found, train=rows, test=test, reading=how, notes=notes)


def _from_images(
    path: Path, resize: str | int, shape: str, reading: ImageReading | None
) -> Dataset:
    if shape:
        raise LogvarError(
            f"shape is {shape!r}, but {path} is a folder of images, which have their shapes: leave "
            "out --shape; --resize scales them"
        )
    found = read_folder(path, resize, reading)
    return Dataset(
        path.resolve().name,
        found.train,
        found.test,
        found.train_labels,
        found.test_labels,
        found.notes,
        found.names,
        found.test_names,
        found.reading,
    )


def fingerprint(rows: np.ndarray) -> str:
    """Return SHA-256 over kind, shape and values; the same data have the same hash in any dtype.

    Real numbers that float32 can represent are hashed as float32, others as float64.
    """
    if rows.dtype == np.uint8:
        return _digest(rows, np.uint8)
    spans = [slice(i, i + _ROWS_AT_ONCE) for i in range(0, len(rows), _ROWS_AT_ONCE)]
    with np.errstate(over="ignore"):
        narrow = all(_fits_float32(rows[s]) for s in spans)
    return _digest(rows, np.float32 if narrow else np.float64)


def fingerprints(rows: np.ndarray) -> set[str]:
    """Return all hashes these data may have: logvar 0.1 rounded real numbers to float32."""
    return {fingerprint(rows)} | ({_digest(rows, np.float32)} if rows.dtype != np.uint8 else set())


def _fits_float32(rows: np.ndarray) -> bool:
    return bool(((rows.astype(np.float32) == rows) | np.isnan(rows)).all())


def _digest(rows: np.ndarray, dtype: DTypeLike) -> str:
    digest = hashlib.sha256(f"{np.dtype(dtype).str} {rows.shape}".encode())
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        with np.errstate(over="ignore"):
            some = rows[start : start + _ROWS_AT_ONCE].astype(dtype, copy=False)
        if some.dtype.kind == "f" and np.isnan(some).any():
            some = np.where(np.isnan(some), some.dtype.type(np.nan), some)  # one NaN of the many
        digest.update(np.ascontiguousarray(some).data)
    return digest.hexdigest()


def _digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 × 8, as intensities in [0, 1]."""
    from sklearn.datasets import load_digits  # slow to import, and only digits need it

    digits = load_digits()
    rows = (digits.images[..., None] / 16.0).astype(np.float32)
    labels = digits.target
    return Dataset("digits", rows[:1500], rows[1500:], labels[:1500], labels[1500:])


def _from_idx(name: str, folder: Path) -> Dataset:
    train, test, train_labels, test_labels = idx.read_folder(folder)
    return Dataset(name, train, test, train_labels, test_labels)
