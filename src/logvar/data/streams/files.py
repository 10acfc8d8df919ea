"""A file as it was when it was opened: one that changes while it is read is refused."""

import dataclasses
import os
from pathlib import Path

from logvar.errors import LogvarError


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file's size and time of change when its rows were counted."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "Opened":
        """Remember a file as it is now.

        Raises:
            LogvarError: there is no such file.
        """
        try:
            found = os.stat(path)
        except OSError as error:
            raise LogvarError(
                f"{path} cannot be read ({error.strerror}): check the path"
            ) from error
        return cls(path, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Check that the file is the same.

        Raises:
            LogvarError: it has changed or is gone.
        """
        now = Opened.of(self.path)
        self._compare(now.size, now.changed)

    def check_descriptor(self, descriptor: int) -> None:
        """Check that an open file is the same; see `check`."""
        found = os.fstat(descriptor)
        self._compare(found.st_size, found.st_mtime_ns)

    def _compare(self, size: int, changed: int) -> None:
        if (size, changed) != (self.size, self.changed):
            what = (
                f"had {self.size:,} bytes and has {size:,}"
                if size != self.size
                else "was written to"
            )
            raise LogvarError(
                f"{self.path} changed while it was read ({what}): expected a file that stays as it "
                "is; wait until it is written, then start again"
            )
