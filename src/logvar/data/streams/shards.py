"""Several sources as one: their rows follow each other."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from logvar.backend.streamed import Reader, Where
from logvar.errors import LogvarError


@dataclasses.dataclass(frozen=True, eq=False)
class Shards:
    """Rows of several readers, one after the other."""

    parts: tuple[Reader, ...]
    starts: np.ndarray
    """(parts + 1,): the first row of each, and the number of all."""

    @classmethod
    def of(cls, parts: Sequence[Reader]) -> "Shards":
        """Join readers whose examples have one shape and one dtype.

        Raises:
            LogvarError: there are none, or one is different from the first; the message has its
                name and its first row.
        """
        if not parts:
            raise LogvarError("an empty list of files was given: expected at least one")
        counts = [part.shape[0] for part in parts]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        first = parts[0]
        for part, start in zip(parts, starts, strict=False):
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise LogvarError(
                    f"{part.name} (from row {start:,} of all) has {part.dtype} examples of shape "
                    f"{part.shape[1:]}: expected {first.dtype} of shape {first.shape[1:]}, as "
                    f"{first.name} has; write all files alike"
                )
        return cls(tuple(parts), starts)

    @property
    def name(self) -> str:
        return f"{self.parts[0].name} and {len(self.parts) - 1} more"

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.starts[-1]), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def read(self, where: Where) -> np.ndarray:
        found = [part.read(there) for part, there in self._split(where)]
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.zeros((0, *self.shape[1:]), self.dtype)

    def check(self) -> None:
        for part in self.parts:
            part.check()

    def place_of(self, row: int) -> tuple[str, int]:
        """Return the name of the part that has a row, and the row's number there."""
        i = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[i].name, row - int(self.starts[i])

    def _split(self, where: Where) -> list[tuple[Reader, Where]]:
        """Return which rows each reader has to read."""
        pieces: list[tuple[Reader, Where]] = []
        if isinstance(where, slice):
            for part, first, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
                low, high = max(where.start, first), min(where.stop, end)
                if low < high:
                    pieces.append((part, slice(int(low - first), int(high - first))))
            return pieces
        of = np.searchsorted(self.starts, where, side="right") - 1
        for i in np.unique(of):
            pieces.append((self.parts[i], where[of == i] - self.starts[i]))
        return pieces
