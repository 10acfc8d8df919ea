"""MNIST as every side of a comparison gets it: uint8 rows (60000, 28, 28, 1) and a test set."""

import gzip
import os
from pathlib import Path

import numpy as np


def mnist():
    if not os.environ.get("LOGVAR_DATA"):
        raise SystemExit("LOGVAR_DATA is not set: it names the folder with MNIST's four IDX files")
    folder = Path(os.environ["LOGVAR_DATA"])
    folder = folder / "mnist" if (folder / "mnist").is_dir() else folder
    return tuple(
        _read(folder, name) for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
    )


def _read(folder, name):
    plain = folder / name
    if plain.is_file():
        content = plain.read_bytes()
    else:
        content = gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(content[16:], np.uint8).reshape(-1, 28, 28, 1)
