"""DATA on the command line → arrays: built-in names and paths."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from logvar.data import idx, images, tables
from logvar.data.paths import check_readable

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


def load(source: str, data_dir: str | None = None) -> Dataset:
    """Load a data set.

    Args:
        source: `digits`, `mnist`, or the path of a .npy, .npz, .csv or .parquet file, a folder of
            images or a folder with IDX files.
        data_dir: the folder to look for `mnist` in; otherwise the variable LOGVAR_DATA.

    Raises:
        LogvarError: the name is unknown, or the file cannot be read in the format of its ending.
    """
    if source == "digits":
        return _digits()
    if source == "mnist":
        return _from_idx("mnist", idx.mnist_folder(data_dir))
    check_readable(source)
    path = Path(source)
    if path.is_dir():
        if idx.is_idx_folder(path):
            return _from_idx(path.name, path)
        return Dataset(path.name, *images.read_folder(path))
    return Dataset(path.stem, _READERS[path.suffix.lower()](path))


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
