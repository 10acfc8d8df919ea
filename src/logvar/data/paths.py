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


def check_writable(path: Path) -> None:
    """Check the ending and the folder of an output.

    Raises:
        LogvarError: the ending is unknown, or the folder does not exist.
    """
    if path.suffix.lower() not in WRITABLE:
        raise LogvarError(f"--out {path} ends in {path.suffix!r}: expected {', '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise LogvarError(f"--out {path}: the folder {path.parent} does not exist; create it first")
