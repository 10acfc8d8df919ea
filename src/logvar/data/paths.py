"""Paths given on the command line, checked without reading or importing anything.

Importing JAX takes seconds, and a mistyped path should be reported before that.
"""

import difflib
import glob
import os
import re
from pathlib import Path

from logvar.errors import LogvarError

BUILT_IN = ("digits", "mnist", "shapes")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".arrow", ".feather")
READABLE = (".npy", ".npz", ".h5ad", *TABLES)
PARTS = (".npy", ".parquet", ".arrow", ".feather")
"""Endings of files of which several may be one data set."""
WRITABLE = (".npy", *TABLES)


def check_readable(source: str) -> None:
    """Check that DATA is a built-in name, a folder, or a nonempty file with a known ending.

    Raises:
        LogvarError: it is none of them.
    """
    path = Path(source)
    if source in BUILT_IN or path.is_dir():
        return
    if is_pattern(source):
        for one in files_of(source):
            check_readable(str(one))
        return
    if not path.exists():
        near = difflib.get_close_matches(source, BUILT_IN, n=1, cutoff=0.5)
        known = f"built-in data sets are {', '.join(BUILT_IN)}"
        built_in = f"did you mean {near[0]!r}?" if near else known
        raise LogvarError(f"no file or folder {source} exists: check the path; {built_in}")
    if path.stat().st_size == 0:
        raise LogvarError(f"{path} is empty (0 bytes): expected a table or array with rows")
    if not ending(path, READABLE):
        raise LogvarError(
            f"{path} has the ending {path.suffix!r}: expected {', '.join(READABLE)}, a folder of "
            "images, a folder with IDX files, a pattern such as 'shard-*.npy', or one of the "
            "names digits, mnist and shapes"
        )


def is_pattern(source: str) -> bool:
    """Return whether DATA is a pattern of several files, such as shard-*.npy.

    Example:
        >>> is_pattern("parts/shard-*.npy"), is_pattern("adult.csv")
        (True, False)
    """
    return any(sign in source for sign in "*?[") and not Path(source).exists()


def files_of(source: str) -> list[Path]:
    """Return the files of a pattern, 2 before 10.

    Raises:
        LogvarError: there are none, or they are not all arrays or all tables that can be read in
            parts.
    """
    found = sorted(map(Path, glob.glob(source)), key=lambda path: _natural(path.name))
    if not found:
        raise LogvarError(
            f"no file matches {source}: check the pattern, and put it in quotes so that the shell "
            "does not expand it"
        )
    endings = {path.suffix.lower() for path in found}
    matched = f"{source} matches files that end in {', '.join(sorted(endings))}"
    if len(endings) > 1:
        raise LogvarError(f"{matched}: expected all to have the same ending")
    if not endings <= set(PARTS):
        raise LogvarError(
            f"{matched}, of which one at a time is read: name one, or join them, or give several "
            f"of {', '.join(PARTS)}"
        )
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]


def check_writable(path: Path, *, pictures: bool = False) -> None:
    """Check the ending and the folder of an output.

    Args:
        path: the output.
        pictures: whether it may be a .png file or a folder, which has no ending.

    Raises:
        LogvarError: the ending is unknown, or the folder does not exist.
    """
    if pictures and is_of_pictures(path):
        return _check_parent(path)
    if not ending(path, WRITABLE):
        also = ", .png, or a folder without ending" if pictures else ""
        raise LogvarError(
            f"--out {path} ends in {path.suffix!r}: expected {', '.join(WRITABLE)}{also}"
        )
    return _check_parent(path)


def ending(path: str | Path, known: tuple[str, ...] = READABLE) -> str:
    """Return the longest known ending that a path has, in small letters; "" if it has none.

    Example:
        >>> ending("adult.CSV.gz"), ending("notes.txt")
        ('.csv.gz', '')
    """
    name = str(path).lower()
    return max((one for one in known if name.endswith(one)), key=len, default="")


def stem(path: str | Path) -> str:
    """Return the last part of a path without its ending.

    Example:
        >>> stem("data/adult.csv.gz"), stem("digits"), stem("photos.2024/")
        ('adult', 'digits', 'photos.2024')
    """
    name = Path(path).name.removesuffix(".zarr")
    if is_pattern(str(path)):
        name = re.sub(r"[*?]|\[[^]]*\]", "", name)
        return name[: len(name) - len(ending(name))].strip("-_. ") or "data"
    return name[: len(name) - len(ending(path))] or name


def absolute(source: str) -> str:
    """Return DATA so that it is found from any folder: a built-in name, or a whole path."""
    return source if source in BUILT_IN else os.path.abspath(source)


def is_of_pictures(path: Path) -> bool:
    """Whether an output is a folder of PNG files, or one of them."""
    return path.suffix.lower() in ("", ".png") or path.is_dir()


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise LogvarError(f"--out {path}: the folder {path.parent} does not exist; create it first")
