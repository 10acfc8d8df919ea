"""Writing so that a half-written file is never taken for a whole one."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from logvar import signals
from logvar.errors import LogvarError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name, sync it, and rename it into place.

    Raises:
        LogvarError: the place cannot be written, or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line that names the path and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogvarError(
            f"cannot write {path}: {reason}; choose another place, or make room or permission there"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class UnfinishedFolder:
    """A hidden folder beside the final one, in which a run is written until it is whole.

    `publish` renames it into place; an earlier folder there is moved aside first and deleted only
    afterwards. Until then an interrupted or crashed run leaves the earlier one untouched.
    """

    def __init__(self, final: Path, *, overwrite: bool, marker: str, keep: bool = False):
        """Create the hidden folder and hold a lock on it.

        Args:
            final: where the run shall lie.
            overwrite: whether a run that already lies there may be replaced.
            marker: the file by which a folder is known as ours; no other is ever replaced.
            keep: leave in it what an earlier process left, to go on from there.

        Raises:
            LogvarError: something lies at `final`, the place cannot be written, or another
                process is writing the same run.
        """
        self.final = final
        _put_back(final)
        if final.exists() and not overwrite:
            raise LogvarError(
                f"{final} already exists: choose another place, or give --overwrite (in Python, "
                "overwrite=True) to replace it"
            )
        if final.exists() and not (final / marker).is_file():
            raise LogvarError(
                f"{final} exists and is not a run folder (it has no {marker}): it is not replaced; "
                "choose another --out"
            )
        self.path = unfinished(final)
        with writing(final):
            self._lock = self._locked()
            if not keep:
                for leftover in self.path.iterdir():
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            (self.path / _OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}")

    def _locked(self) -> int:
        """Lock the folder itself: the lock goes where it goes, and ends with the process."""
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # it was published between the two lines above
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise LogvarError(
                    f"{self.final} is being written by another process ({_owner(self.path)}): wait "
                    "for it, or choose another --out"
                ) from error
            if self.path.exists() and os.path.samestat(os.fstat(descriptor), self.path.stat()):
                return descriptor
            os.close(descriptor)  # what was locked has been published meanwhile: make another

    def publish(self) -> Path:
        """Rename the folder into place and return its final path."""
        earlier = replaced(self.final)
        with writing(self.final), signals.held():
            (self.path / _OWNER).unlink(missing_ok=True)
            sync_folder(self.path)
            if earlier.exists():
                shutil.rmtree(earlier)
            if self.final.exists():
                os.replace(self.final, earlier)
            os.replace(self.path, self.final)
            sync_folder(self.final.parent)
            shutil.rmtree(earlier, ignore_errors=True)
        self._release()
        return self.final

    def discard(self) -> None:
        """Remove what was written and leave the final place as it was."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def leave(self) -> None:
        """Give up the lock and leave the folder, so that a later process can go on from it."""
        (self.path / _OWNER).unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


_OWNER = "owner.txt"


def unfinished(final: Path) -> Path:
    """Where a run is written until it is whole."""
    return final.with_name(f".{final.name}.unfinished")


def replaced(final: Path) -> Path:
    """Where an earlier run lies while a new one takes its place."""
    return final.with_name(f".{final.name}.replaced")


def _put_back(final: Path) -> None:
    """Undo the first of two renames, if a process was killed between them."""
    if replaced(final).is_dir() and not final.exists():
        with writing(final):
            os.replace(replaced(final), final)


def _owner(folder: Path) -> str:
    try:
        return (folder / _OWNER).read_text(encoding="utf-8")
    except OSError:
        return "which has just begun or just ended"
