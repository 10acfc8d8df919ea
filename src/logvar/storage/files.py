"""Write files and folders so that an unfinished one is never mistaken for a complete one."""

import contextlib
import hashlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logvar import signals
from logvar.errors import LogvarError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name, sync it, and rename it into place.

    Raises:
        LogvarError: the path cannot be written, or the disk is full.
    """
    with UnfinishedFile(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


class UnfinishedFile:
    """A hidden file beside the final one, written piece by piece and renamed when it is complete.

    As a context manager it is published at the end of the block, and removed after an exception.

    Raises:
        LogvarError: the path cannot be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
        >>> with UnfinishedFile(path) as file:
        ...     file.write(b"one")
        ...     file.write(b" two")
        ...     path.exists()
        False
        >>> path.read_text()
        'one two'
    """

    def __init__(self, path: Path):
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with writing(path):
            self.raw = open(self._temporary, "wb")  # noqa: SIM115
        """For libraries that write into a file themselves, inside `writing(path)`."""

    def write(self, data: Any) -> None:
        """Append bytes, or whatever else has a buffer."""
        with writing(self.path):
            self.raw.write(data)

    def publish(self) -> None:
        """Sync what was written, and rename it into place."""
        with writing(self.path):
            try:
                self.raw.flush()
                os.fsync(self.raw.fileno())
                self.raw.close()
                os.replace(self._temporary, self.path)
                sync_folder(self.path.parent)
            finally:
                self.discard()

    def discard(self) -> None:
        """Remove what was written and leave the final path unchanged."""
        with contextlib.suppress(OSError):
            self.raw.close()  # which flushes, and a full disk is known by then
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "UnfinishedFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.publish()
        else:
            self.discard()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one line that names the path and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogvarError(
            f"cannot write {path}: {reason}; choose another place, or make room or permission there"
        ) from error


def temporary_file(what: str) -> io.FileIO:
    """Open a file without a name, which the system removes when the process ends, however it ends.

    Args:
        what: what it will hold, for the message.

    Raises:
        LogvarError: no folder of temporary files can be written, such as on a full disk.
    """
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError as error:
        raise LogvarError(
            f"no temporary file can be made for {what} ({error.strerror or error}): set TMPDIR to "
            "a folder with room"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system lets a program ask for that."""
    if fcntl is None:
        return  # Windows opens no folders
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
    """A hidden folder beside the final one, in which a run is written until it is complete.

    `publish` renames it into place; an earlier folder there is moved aside first and deleted only
    afterwards. Until then an interrupted or crashed run leaves the earlier one unchanged.
    """

    def __init__(self, final: Path, *, overwrite: bool, marker: str, keep: bool = False):
        """Create the hidden folder and lock it.

        Args:
            final: the final path of the run.
            overwrite: whether an existing run at that path may be replaced.
            marker: the file that identifies a folder as ours; no other folder is ever replaced.
            keep: keep the files of an earlier process, to resume from them.

        Raises:
            LogvarError: something exists at `final`, the path cannot be written, or another
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
            try:
                if not keep:
                    for leftover in self.path.iterdir():
                        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
                (self.path / _OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}")
            except OSError:
                (self.path / _OWNER).unlink(missing_ok=True)
                self.leave() if keep and any(self.path.iterdir()) else self.discard()
                raise

    def _locked(self) -> int:
        """Make the folder and lock it; the lock ends with the process, however that ends."""
        if fcntl is None:
            return self._locked_beside()
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
                raise self._taken() from error
            if self.path.exists() and os.path.samestat(os.fstat(descriptor), self.path.stat()):
                return descriptor
            os.close(descriptor)  # the locked folder has been published meanwhile: make another

    def _locked_beside(self) -> int:
        """Lock a file beside the folder: Windows locks no folder, and renames none with an open
        file in it."""
        import msvcrt

        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_lock_of(self.final), os.O_RDWR | os.O_CREAT)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            os.close(descriptor)
            raise self._taken() from error
        self.path.mkdir(exist_ok=True)
        return descriptor

    def _taken(self) -> LogvarError:
        return LogvarError(
            f"{self.final} is being written by another process ({_owner(self.path)}): wait for it, "
            "or choose another --out"
        )

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
        """Remove what was written and leave the final path unchanged."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def leave(self) -> None:
        """Release the lock and keep the folder, so that a later process can resume from it."""
        (self.path / _OWNER).unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock < 0:
            return
        os.close(self._lock)
        self._lock = -1
        if fcntl is None:
            with contextlib.suppress(OSError):  # another process has opened it
                _lock_of(self.final).unlink()


_OWNER = "owner.txt"


def unfinished(final: Path) -> Path:
    """Return the path where a run is written until it is complete."""
    return final.with_name(f".{final.name}.unfinished")


def _lock_of(final: Path) -> Path:
    """Return the file that is locked where a folder cannot be."""
    return final.with_name(f".{final.name}.lock")


def replaced(final: Path) -> Path:
    """Return the path where an earlier run is kept while a new one takes its place."""
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
        return "which has just started or just ended"
