"""The IDX format of MNIST and similar sets, plain or gzip-compressed; and locating MNIST."""

import gzip
import hashlib
import math
import os
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from logvar.errors import LogvarError
from logvar.storage.files import write_atomically, writing

FILES = (
    "train-images-idx3-ubyte",
    "t10k-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-labels-idx1-ubyte",
)
# MD5 of the uncompressed files, as listed with the data set (LeCun, Cortes, Burges).
MNIST_MD5 = (
    "6bbc9ace898e44ae57da46a324031adb",
    "2646ac647ad5339dbf082846283269ea",
    "a25bea736e30d166cdddb491f175f624",
    "27ae3e4e09519cfbb04c329615203637",
)
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LARGEST = 8 * 1024**3


def read(path: Path) -> np.ndarray:
    """Read one IDX file, plain or .gz.

    Raises:
        LogvarError: the file is not IDX, or its length differs from its header.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES:
                raise LogvarError(f"{path} is not an IDX file: it starts with {start.hex()}")
            dims = start[3]
            header = file.read(4 * dims)
            if dims == 0 or len(header) < 4 * dims:
                raise LogvarError(
                    f"{path} is a truncated IDX file: its header is cut; copy it again"
                )
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
            dtype = np.dtype(_DTYPES[start[2]])
            size = math.prod(shape) * dtype.itemsize
            if size > _LARGEST:
                raise LogvarError(f"{path} claims shape {shape}: too large to be real")
            # Read no more than the file has, whatever its header claims.
            content = bytearray()
            while len(content) <= size and (part := file.read(min(size + 1, 1 << 24))):
                content += part
    except (OSError, EOFError, zlib.error) as error:
        raise LogvarError(f"{path} cannot be read ({error}): copy it again") from error
    if len(content) != size:
        more = "more" if len(content) > size else "only"
        raise LogvarError(
            f"{path} has {more} {min(len(content), size)} bytes of data where its header says "
            f"{size}: it is truncated or not IDX; copy it again"
        )
    array = np.frombuffer(bytes(content), dtype).reshape(shape)
    return array if dtype.itemsize == 1 else array.astype(dtype.newbyteorder("="))


def is_idx_folder(folder: Path) -> bool:
    """Return whether a folder has the training images of an MNIST-like set."""
    return _find(folder, FILES[0]) is not None


def read_folder(
    folder: Path,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return (train images, test images, train labels, test labels); missing ones are None.

    Images get a channel axis: (rows, height, width, 1).
    """
    parts: list[np.ndarray | None] = []
    for name in FILES:
        path = _find(folder, name)
        parts.append(None if path is None else read(path))
    train, test, train_labels, test_labels = parts
    if train is None:
        raise LogvarError(f"{folder} has no {FILES[0]} or {FILES[0]}.gz: give the IDX folder")
    for images, labels in ((train, train_labels), (test, test_labels)):
        if images is not None and labels is not None and len(images) != len(labels):
            raise LogvarError(f"{folder}: {len(images)} images but {len(labels)} labels")
    return (
        _with_channel(train),
        None if test is None else _with_channel(test),
        train_labels,
        test_labels,
    )


def mnist_folder(data_dir: str | None) -> Path:
    """Return the folder with MNIST: in data_dir, in LOGVAR_DATA, or downloaded to the cache folder.

    Raises:
        LogvarError: MNIST is in none of them and cannot be downloaded.
    """
    named = data_dir or os.environ.get("LOGVAR_DATA")
    if named:
        for folder in (Path(named) / "mnist", Path(named)):
            if is_idx_folder(folder):
                return folder
        raise LogvarError(
            f"no MNIST in {named}: expected {FILES[0]} (or .gz) there or in its subfolder mnist; "
            "give another --data-dir, or leave it out to download"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logvar" / "mnist"
    if all(_find(cache, name) for name in FILES):
        return cache
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    for name, md5 in zip(FILES, MNIST_MD5, strict=True):
        write_atomically(cache / f"{name}.gz", _download(f"{name}.gz", md5))
    return cache


def _download(name: str, md5: str) -> bytes:
    reasons = []
    for mirror in MIRRORS:
        try:
            with urllib.request.urlopen(mirror + name, timeout=30) as answer:
                content = answer.read()
            if hashlib.md5(gzip.decompress(content)).hexdigest() == md5:
                return content
            reasons.append(f"{mirror}: checksum differs")
        except (OSError, EOFError, zlib.error, urllib.error.URLError) as error:
            reasons.append(f"{mirror}: {error}")
    raise LogvarError(
        f"MNIST is not on this machine and cannot be downloaded ({'; '.join(reasons)}): put its "
        "four IDX files in a folder and give it by --data-dir or LOGVAR_DATA"
    )


def _find(folder: Path, name: str) -> Path | None:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def _with_channel(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images
