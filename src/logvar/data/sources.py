"""DATA on the command line → arrays or tables: built-in names and paths."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows
from logvar.data import arrays, drawn, idx
from logvar.data.annotated import ENDING, cells_of, named_columns, read_h5ad
from logvar.data.facts import bytes_of, facts_of, fits_float32
from logvar.data.images.arrays import read_as_images
from logvar.data.images.reading import ImageReading
from logvar.data.images.streamed import streamed_as_images
from logvar.data.paths import (
    BUILT_IN,
    PARTS,
    TABLES,
    check_readable,
    ending,
    files_of,
    is_pattern,
    stem,
)
from logvar.data.sparse import read_sparse
from logvar.data.streamed import streamed_rows
from logvar.data.streams.images import open_folder
from logvar.data.table.choices import Choices
from logvar.data.table.large import is_large, large_table
from logvar.data.table.pixels import pixels_of
from logvar.data.table.reading import read_table
from logvar.data.windows import ALL, AUTO, WHOLE
from logvar.errors import LogvarError

_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows and their labels and test set, as far as the source has them."""

    name: str
    train: Any
    """An array, sparse rows, rows that are read when they are needed, a `Table`, a table that is
    read in parts, or an AnnData object."""
    test: np.ndarray | None = None
    """The source's own test set, if it has one; training never sees it."""
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    """Remarks for the user about how the source was read, one line each."""
    names: tuple[str, ...] = ()
    """The file of each training row, if each has its own."""
    test_names: tuple[str, ...] = ()
    reading: ImageReading | None = None
    """How images became rows, if that was more than reading an array."""
    of_columns: bool = False
    """Whether these images are made of a table's columns, some of which may have been left out."""


def load(
    source: str,
    data_dir: str | None = None,
    resize: str | int = "",
    shape: str = "",
    reading: str = "",
    choices: Choices = Choices(),  # noqa: B008
    layer: str = "",
    window: int | str = ALL,
) -> Dataset:
    """Load a data set.

    Args:
        source: `digits`, `mnist`, `shapes`, or the path of a .npy or .npz file (of NumPy or of a
            sparse matrix of SciPy), of a table (.csv, .tsv, .gz or not, .parquet, .arrow,
            .feather), of an .h5ad file, a folder of images or one with IDX files; or several
            files by a pattern, such as shard-*.npy.
        data_dir: the folder to look for `mnist` in; otherwise the variable LOGVAR_DATA.
        resize: for a folder of images, the size to scale them to: "64", or "64x48" (width first).
        shape: for an array or a table of flat pixels, the shape of one example: "28x28".
        reading: `ImageReading.as_text()` of a fitted run: read as that run did.
        choices: for a table, its header, and which of its columns are no pixels; for an .h5ad
            file, which columns of obs are labels.
        layer: for an .h5ad file, the layer that will be read.
        window: rows that will be shuffled at a time. If that may be fewer than there are, files of
            arrays, Parquet and Arrow are opened instead of read.

    Raises:
        LogvarError: the name is unknown, the file cannot be read in the format of its ending, or
            `resize` or `shape` do not go with it.
    """
    fixed = ImageReading.from_text(reading)
    if source not in BUILT_IN:
        check_readable(source)
        path = Path(source)
        if is_pattern(source):
            files = files_of(source)
            if resize or layer:
                raise LogvarError(
                    f"{source} is a pattern of array or table files: leave out --resize "
                    "and --layer, which are for images and .h5ad files"
                )
            return _from_parts(stem(source), list(map(str, files)), shape, fixed)
        if path.is_dir() and not idx.is_idx_folder(path):
            if path.suffix.lower() == ".zarr":
                return _from_parts(stem(source), source, shape, fixed)
            return _from_images(path, resize, shape, fixed, window)
    if resize:
        raise LogvarError(
            f"resize is {resize!r}, but {source} is no folder of images: leave out --resize, or "
            "give the folder"
        )
    if source not in BUILT_IN and path.suffix.lower() == ENDING:
        return _from_annotated(path, shape, layer, choices, _fits(path, window))
    if layer:
        raise LogvarError(
            f"layer is {layer!r}, but {source} is no .h5ad file: leave out --layer, or give the "
            "file"
        )
    if source == "digits":
        found = _digits()
    elif source == "shapes":
        found = _shapes()
    elif source == "mnist":
        found = _from_idx("mnist", idx.mnist_folder(data_dir))
    elif path.is_dir():
        found = _from_idx(path.name, path)
    elif not _fits(path, window) and path.suffix.lower() in PARTS:
        return _from_parts(stem(path), str(path), shape, fixed)
    elif ending(path, TABLES):
        return _from_table(path, shape, fixed, choices)
    else:
        is_npz = path.suffix.lower() == ".npz"
        sparse = read_sparse(path) if is_npz else None
        if sparse is not None:
            return Dataset(path.stem, sparse)
        found = Dataset(path.stem, (arrays.read_npz if is_npz else arrays.read_npy)(path))
    return _as_images(found, shape, fixed)


def _fits(path: Path, window: int | str) -> bool:
    """Return whether all rows of a file will be shuffled at once, whatever its form: a byte of a
    file may be a cell, of which a model reads up to 24."""
    return window == ALL or (window == AUTO and path.stat().st_size * 24 <= WHOLE)


def _from_parts(
    name: str, files: str | list[str], shape: str, reading: ImageReading | None
) -> Dataset:
    """Return files that are read in parts."""
    if is_large(files):
        if shape or reading is not None:
            raise LogvarError(
                f"--shape cannot be used with {name}, a table too large to read at once: leave it "
                "out, or store the pixels in .npy files"
            )
        return Dataset(name, large_table(files, name))
    rows, how, notes = streamed_as_images(streamed_rows(files, name), shape, reading, name)
    return Dataset(name, rows, reading=how, notes=notes)


def _as_images(found: Dataset, shape: str, reading: ImageReading | None) -> Dataset:
    """Give the arrays of a source the shape of images, if something says that they are."""
    assert isinstance(found.train, np.ndarray)
    rows, how, notes = read_as_images(found.train, shape, reading, found.name)
    test = found.test
    if test is not None and how is not None:
        test = read_as_images(test, shape, how, found.name)[0]
    return dataclasses.replace(
        found, train=rows, test=test, reading=how, notes=(*found.notes, *notes)
    )


def _from_table(path: Path, shape: str, reading: ImageReading | None, choices: Choices) -> Dataset:
    """Return a table, or the images whose pixels are its columns."""
    table = read_table(path, choices.header)
    found = Dataset(stem(path), table, notes=table.remarks)
    if not shape and reading is None:
        return found
    pixels, labels = pixels_of(table, choices.said(), str(path))
    found = dataclasses.replace(found, train=pixels, train_labels=labels, of_columns=True)
    return _as_images(found, shape, reading)


def _from_annotated(
    path: Path, shape: str, layer: str, choices: Choices, in_memory: bool
) -> Dataset:
    """Return an AnnData object; the first column of obs that is said to be one has the labels."""
    if shape:
        raise LogvarError(f"shape is {shape!r}, but {path} holds cells × genes: leave out --shape")
    adata = read_h5ad(path, in_file=not in_memory and not layer)
    cells_of(adata, layer, str(path), in_file=True)  # which checks the layer
    labels = named_columns(adata, choices.said(), str(path))[1]
    first = next(iter(labels.values()), None)
    as_text = None if first is None else np.array([str(value) for value in first])
    return Dataset(path.stem, adata, train_labels=as_text)


def _from_images(
    path: Path, resize: str | int, shape: str, reading: ImageReading | None, window: int | str
) -> Dataset:
    if shape:
        raise LogvarError(
            f"shape is {shape!r}, but {path} is a folder of images, which have their shapes: leave "
            "out --shape; --resize scales them"
        )
    found, streamed = open_folder(path, resize, reading, window)
    return Dataset(
        path.resolve().name,
        found.train if streamed is None else streamed,
        found.test,
        found.train_labels,
        found.test_labels,
        found.notes,
        found.names,
        found.test_names,
        found.reading,
    )


def fingerprint(rows: Rows) -> str:
    """Return SHA-256 over kind, shape and values; the same data have the same hash in any dtype.

    Real numbers that float32 can represent are hashed as float32, others as float64. Sparse rows
    have a hash of their own, over the values that they store.
    """
    if isinstance(rows, SparseRows):
        digest = hashlib.sha256(f"sparse {rows.shape}".encode())
        for array in (rows.starts, rows.columns):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(fingerprint(rows.values[:, None]).encode())
        return digest.hexdigest()
    if isinstance(rows, StreamedRows):
        return facts_of(rows).sha256
    if rows.dtype == np.uint8:
        return _digest(rows, np.uint8)
    spans = [slice(i, i + _ROWS_AT_ONCE) for i in range(0, len(rows), _ROWS_AT_ONCE)]
    narrow = all(fits_float32(rows[s]) for s in spans)
    return _digest(rows, np.float32 if narrow else np.float64)


def fingerprints(rows: Rows) -> set[str]:
    """Return all hashes these data may have: logvar 0.1 rounded real numbers to float32."""
    if isinstance(rows, SparseRows | StreamedRows):
        return {fingerprint(rows)}
    return {fingerprint(rows)} | ({_digest(rows, np.float32)} if rows.dtype != np.uint8 else set())


def _digest(rows: np.ndarray, dtype: DTypeLike) -> str:
    digest = hashlib.sha256(f"{np.dtype(dtype).str} {rows.shape}".encode())
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        digest.update(bytes_of(rows[start : start + _ROWS_AT_ONCE], dtype))
    return digest.hexdigest()


def _digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 × 8, as intensities in [0, 1]."""
    from sklearn.datasets import load_digits  # slow to import, and only digits need it

    digits = load_digits()
    rows = (digits.images[..., None] / 16.0).astype(np.float32)
    labels = digits.target
    return Dataset("digits", rows[:1500], rows[1500:], labels[:1500], labels[1500:])


def _shapes() -> Dataset:
    """Drawn shapes of 32 × 32 pixels with known factors; the label is the shape."""
    train, test = drawn.built_in()
    labels = train.factors["shape"], test.factors["shape"]
    return Dataset("shapes", train.images, test.images, *labels)


def _from_idx(name: str, folder: Path) -> Dataset:
    train, test, train_labels, test_labels = idx.read_folder(folder)
    return Dataset(name, train, test, train_labels, test_labels)
