"""Mutate the files that logvar reads: each is read, or answered in one line.

python -m tests.crash.fuzz_files --mutations 2000        # of each kind
"""

import collections
import gzip
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import logvar
from logvar.data import sources
from logvar.recipe import Recipe
from tests.crash.fuzz import command_line

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (6, 9, 9), dtype=np.uint8)
TABLE = RNG.normal(size=(20, 3))
WORDS = [
    b"nan", b"-1", b"1e400", b"[[[[", b'"', b"\xff\xfe", b"\x00", b"=", b"\n\n", b"99999999999999999999", b"inf", b"[model]",
]  # fmt: skip


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def whole_files(folder: Path) -> dict[str, Path]:
    """One right file of each kind; those of images and IDX stand in a folder of their own."""
    files = {
        name: folder / name
        for name in ("a.npy", "a.npz", "a.csv", "a.parquet", "idx/train-images-idx3-ubyte",
                     "gz/train-images-idx3-ubyte.gz", "images/a.png", "jpeg/a.jpg", "recipe.toml")
    }  # fmt: skip
    for path in files.values():
        path.parent.mkdir(exist_ok=True)
    np.save(files["a.npy"], TABLE)
    np.savez_compressed(files["a.npz"], X=TABLE)
    files["a.csv"].write_text("a,b\n" + "\n".join(f"{i},{i / 7}" for i in range(30)))
    pq.write_table(pa.table({"a": TABLE[:, 0], "b": TABLE[:, 1]}), files["a.parquet"])
    files["idx/train-images-idx3-ubyte"].write_bytes(idx_bytes(PIXELS))
    files["gz/train-images-idx3-ubyte.gz"].write_bytes(gzip.compress(idx_bytes(PIXELS)))
    Image.fromarray(PIXELS[0]).save(files["images/a.png"])
    Image.fromarray(PIXELS[0]).save(files["jpeg/a.jpg"])
    files["recipe.toml"].write_text(Recipe().to_toml())
    return files


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flipped, overwritten, repeated, or with something hostile put in."""
    at = int(rng.integers(len(content)))
    kind = rng.integers(5)
    if kind == 0:
        return content[:at]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        return bytes(changed)
    if kind == 2:
        return content[:at] + WORDS[rng.integers(len(WORDS))] + content[at:]
    if kind == 3:
        return content[:at] + rng.bytes(4) + content[at + 4 :]
    return content + content[at:]


def reader(path: Path) -> Callable[[], object]:
    """What reads a file of this kind."""
    if path.suffix == ".toml":
        return lambda: Recipe.from_toml(path.read_text(encoding="utf-8", errors="surrogateescape"))
    in_a_folder = path.parent.name in ("idx", "gz", "images", "jpeg")
    return lambda: sources.load(str(path.parent if in_a_folder else path))


def run_all(mutations: int, seed: int) -> tuple[collections.Counter, list[str]]:
    """Mutate and read each kind so often; outcomes, and what went wrong."""
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        files = whole_files(Path(folder))
        for path in files.values():
            reader(path)()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, path in files.items():
            whole = path.read_bytes()
            for index in range(mutations):
                path.write_bytes(mutated(whole, rng))
                started = time.monotonic()
                try:
                    reader(path)()
                    outcomes["read"] += 1
                except logvar.LogvarError as error:
                    outcomes["one line"] += 1
                    if "\n" in str(error) or not str(error).strip():
                        wrong.append(f"{name} {index}: not one line: {str(error)[:200]!r}")
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                    wrong.append(f"{name} {index}: {type(error).__name__}: {str(error)[:200]}")
                if time.monotonic() - started > 30:
                    wrong.append(f"{name} {index}: took {time.monotonic() - started:.0f} s")
            path.write_bytes(whole)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        if grown > 500_000:
            wrong.append(f"memory grew by {grown / 1e6:.1f} GB")
    return outcomes, wrong


if __name__ == "__main__":
    command_line(run_all)
