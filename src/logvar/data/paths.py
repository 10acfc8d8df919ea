"""Paths given on the command line, checked without reading or importing anything.

Importing JAX takes seconds, and a mistyped path should be reported before that.
"""

from pathlib import Path

from logvar.errors import LogvarError, unknown_name

BUILT_IN = ("digits", "mnist")
READABLE = (".npy", ".npz", ".csv", ".parquet")
WRITABLE = (".npy", ".csv", ".parquet")


def check_readable(source: str) -> None:
    """Check that DATA is a built-in name, a folder, or a nonempty file with a known ending.

    Raises:
        LogvarError: it is none of them.
    """
    path = Path(source)
    if source in BUILT_IN or path.is_dir():
        return
    if not path.exists():
        error = unknown_name("data", source, BUILT_IN)
        raise LogvarError(f"{error}; and no file or folder {source} exists")
    if path.stat().st_size == 0:
        raise LogvarError(f"{path} is empty (0 bytes): expected a table or array with rows")
    if path.suffix.lower() not in READABLE:
        raise LogvarError(
            f"{path} has the ending {path.suffix!r}: expected {', '.join(READABLE)}, a folder of "
            "images, a folder with IDX files, or one of the names digits and mnist"
        )


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
    if path.suffix.lower() not in WRITABLE:
        also = ", .png, or a folder without ending" if pictures else ""
        raise LogvarError(
            f"--out {path} ends in {path.suffix!r}: expected {', '.join(WRITABLE)}{also}"
        )
    return _check_parent(path)


def is_of_pictures(path: Path) -> bool:
    """Whether an output is a folder of PNG files, or one of them."""
    return path.suffix.lower() in ("", ".png") or path.is_dir()


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise LogvarError(f"--out {path}: the folder {path.parent} does not exist; create it first")
