"""Which files of a folder are images, in which order, and which of them are for testing."""

import collections
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

from logvar.errors import LogvarError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_TRAINING = ("train", "training")
_TESTING = ("test", "testing")
_VALIDATION = ("val", "valid", "validation")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of a folder, by name relative to it, in natural order."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    train_labels: tuple[str, ...]
    """For each file the subfolder it lies in; empty if all lie in the same one."""
    test_labels: tuple[str, ...]
    notes: tuple[str, ...]


def listed(folder: Path) -> Listing:
    """Return the images below a folder.

    Hidden files (`._x.png`, which macOS leaves beside each x.png), dead links and other files are
    left out and counted. Subfolders called train and test (or val) become the training and the
    test set; any other subfolders are labels.

    Raises:
        LogvarError: there is no image, or train/ has none.
    """
    names: list[str] = []
    left_out: dict[str, list[str]] = collections.defaultdict(list)
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        reason = _reason_to_leave_out(path, name)
        (left_out[reason] if reason else names).append(name)
    notes = _left_out(left_out)
    if not names:
        also = f"; {notes[0]}" if notes else ""
        raise LogvarError(
            f"{folder} has no images ({', '.join(ENDINGS)}) and no IDX files{also}: give another "
            "folder"
        )
    names.sort(key=natural)
    return _divided(folder, names, notes)


def natural(name: str) -> tuple[object, ...]:
    """Return a sort key by which i2 comes before i10, folder by folder.

    Example:
        >>> sorted(["i10.png", "b/1.png", "i2.png"], key=natural)
        ['b/1.png', 'i2.png', 'i10.png']
    """
    folders = name.split("/")
    # Odd elements of each split are digits, so numbers are only compared with numbers.
    keys = [
        tuple(
            (int(piece), len(piece)) if i % 2 else piece.casefold()
            for i, piece in enumerate(re.split(r"([0-9]+)", part))
        )
        for part in folders
    ]
    return (keys, name)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links to folders are followed, each folder at most once."""
    visited = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(where)
        identity = (status.st_dev, status.st_ino)
        if identity in visited:
            folders.clear()
            continue
        visited.add(identity)
        folders.sort()
        yield from (Path(where) / name for name in sorted(files))


def _reason_to_leave_out(path: Path, name: str) -> str:
    parts = name.split("/")
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return "hidden"
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    if path.suffix.lower() not in ENDINGS:
        return "no image"
    return "" if path.is_file() else "no regular file"


def _left_out(left_out: dict[str, list[str]]) -> tuple[str, ...]:
    if not left_out:
        return ()
    total = sum(len(names) for names in left_out.values())
    reasons = ", ".join(
        f"{len(names):,} {reason} ({names[0]}{', …' if len(names) > 1 else ''})"
        for reason, names in sorted(left_out.items())
    )
    return (f"{total:,} {'files are' if total > 1 else 'file is'} left out: {reasons}",)


def _divided(folder: Path, names: list[str], notes: tuple[str, ...]) -> Listing:
    """Divide the images into training and test set, if subfolders say so."""
    first = {name: name.split("/")[0] for name in names if "/" in name}
    groups = list(dict.fromkeys(first.values()))
    training = [group for group in groups if group.lower() in _TRAINING]
    testing = [group for group in groups if group.lower() in _TESTING]
    validation = [group for group in groups if group.lower() in _VALIDATION]
    if not training or not (testing or validation):
        labels = _labels(names)
        return Listing(tuple(names), (), labels, (), (*notes, *_said(labels)))
    # Without a test set, the validation set is it: the rows that training never sees.
    if testing and validation:
        training += validation
    elif validation:
        testing = validation
    train = [name for name in names if first.get(name) in training]
    test = [name for name in names if first.get(name) in testing]
    said = [
        f"{' and '.join(f'{g}/' for g in training)} ({len(train):,} images) is the training set, "
        f"{' and '.join(f'{g}/' for g in testing)} ({len(test):,}) the test set"
    ]
    others = [name for name in names if first.get(name) not in (*training, *testing)]
    if others:
        said.append(
            f"{len(others):,} images beside {training[0]}/ and {testing[0]}/ are left out "
            f"({others[0]}{', …' if len(others) > 1 else ''})"
        )
    train_labels, test_labels = _labels(train, inside=1), _labels(test, inside=1)
    return Listing(
        tuple(train), tuple(test), train_labels, test_labels, (*notes, *said, *_said(train_labels))
    )


def _labels(names: list[str], inside: int = 0) -> tuple[str, ...]:
    """Return the subfolder of each file, or nothing if there is only one."""
    labels = ["/".join(name.split("/")[inside:-1]) or "." for name in names]
    return tuple(labels) if len(set(labels)) > 1 else ()


def _said(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not labels:
        return ()
    counts = collections.Counter(labels)
    shown = ", ".join(f"{label} ({n:,})" for label, n in list(counts.items())[:5])
    return (
        f"labels are the names of the {len(counts):,} subfolders: {shown}"
        f"{', …' if len(counts) > 5 else ''}",
    )
