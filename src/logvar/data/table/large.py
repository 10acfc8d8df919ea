"""Tables of which only some rows are in memory at a time.

Kinds of columns are found from a sample of the rows, together with those rows that have a column's
ends, its levels, or a number with more decimals than before: so the sample has every level, and its
numbers are of the column's kind. A table in memory is looked at in the same way where its rows are
not all shuffled at once, so that both are modelled alike.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from logvar.backend.streamed import NUMBERS_AT_ONCE, StreamedRows, Where
from logvar.data.sampled import sampled_rows
from logvar.data.streams.scratch import Scratch
from logvar.data.table.frame import Table
from logvar.data.table.rows import rows_of
from logvar.data.table.schema import Name, Schema
from logvar.errors import LogvarError

if TYPE_CHECKING:
    import pyarrow as pa

ARRAY = "numbers"
"""The container of an array of numbers, which is given back as such."""
ENDINGS = (".parquet", ".arrow", ".feather")
_DECIMALS = 6
_MOST_LEVELS = 1000
"""A column with more distinct texts is no category; see `logvar.data.table.kinds`."""


@runtime_checkable
class LargeTable(Protocol):
    """A table that is read in parts."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def names(self) -> tuple[Name, ...]:
        """The names of its columns."""

    @property
    def container(self) -> str:
        """The container that it came in."""

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, Table]]:
        """Yield (the number of its first row, consecutive rows) from the first row to the last."""

    def at(self, rows: Int[np.ndarray, "some"]) -> Table:
        """Return rows of increasing numbers."""

    def columns(self, names: Sequence[Name]) -> Table:
        """Return all rows of some columns."""

    def whole(self) -> Table:
        """Return all rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """A table in memory, which is looked at as if it were not."""

    table: Table
    name: str

    @property
    def names(self) -> tuple[Name, ...]:
        return self.table.names

    @property
    def container(self) -> str:
        return self.table.container

    def __len__(self) -> int:
        return len(self.table)

    def blocks(self) -> Iterator[tuple[int, Table]]:
        size = rows_at_once(self)
        for start in range(0, len(self), size):
            some = tuple(column.slice(start, size) for column in self.table.columns)
            yield start, dataclasses.replace(self.table, columns=some, index=None)

    def at(self, rows: Int[np.ndarray, "some"]) -> Table:
        return self.table if len(rows) == len(self) else rows_of(self.table, rows)

    def columns(self, names: Sequence[Name]) -> Table:
        table, at = self.table, [self.names.index(name) for name in names]
        return dataclasses.replace(
            table,
            names=tuple(names),
            columns=tuple(table.columns[i] for i in at),
            natives=tuple(table.natives[i] for i in at),
        )

    def whole(self) -> Table:
        return self.table


@dataclasses.dataclass(frozen=True, eq=False)
class OfNumbers:
    """Streamed rows of numbers as a table, whose columns are called 0, 1, 2 …"""

    rows: StreamedRows
    given: tuple[Name, ...] | None = None
    container: ClassVar[str] = ARRAY

    @property
    def name(self) -> str:
        return self.rows.name

    @property
    def names(self) -> tuple[Name, ...]:
        return tuple(range(self.rows.shape[1])) if self.given is None else self.given

    def called(self, names: tuple[Name, ...], name: str) -> "OfNumbers":
        """Return the table with these names of columns.

        Raises:
            LogvarError: there are more or fewer columns.
        """
        if len(names) != self.rows.shape[1]:
            raise LogvarError(
                f"{name} has {self.rows.shape[1]} features, but VAE is expecting {len(names)} "
                "features as input: give the same columns"
            )
        return dataclasses.replace(self, given=names)

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[tuple[int, Table]]:
        size = rows_at_once(self)
        for start in range(0, len(self), size):
            yield start, self.of(self.rows[start : start + size])

    def at(self, rows: Int[np.ndarray, "some"]) -> Table:
        return self.of(self.rows[rows])

    def columns(self, names: Sequence[Name]) -> Table:
        raise LogvarError(f"{self.name} has no names of columns: give the values of the condition")

    def whole(self) -> Table:
        return self.of(self.rows.in_memory())

    def of(self, rows: np.ndarray) -> Table:
        """Return rows in memory as a table."""
        import pyarrow as pa

        columns = tuple(pa.chunked_array([pa.array(one, from_pandas=True)]) for one in rows.T)
        return Table(self.names, columns, self.container)


def rows_at_once(table: LargeTable) -> int:
    """Return how many rows a pass over a table holds."""
    return max(1, NUMBERS_AT_ONCE // max(1, len(table.names)))


def is_large(X: Any) -> bool:
    """Return whether X is a file that can be read in parts, or a list of such files."""
    if isinstance(X, LargeTable):
        return True
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(x, str | os.PathLike) and is_large(x) for x in X)
    return isinstance(X, str | os.PathLike) and str(X).lower().endswith(ENDINGS)


def large_table(X: Any, name: str = "X") -> LargeTable:
    """Open what `is_large` accepts.

    Raises:
        LogvarError: a file cannot be read, or has other columns than the first.
    """
    if isinstance(X, LargeTable):
        return X
    from logvar.data.table.files import TableFiles

    return TableFiles.of([Path(x) for x in (X if isinstance(X, list | tuple) else [X])])


def sampled_table(table: LargeTable, seed: int) -> Table:
    """Return the rows from which the kinds of columns are found; all if they are few."""
    n = len(table)
    rows = sampled_rows(n, len(table.names), seed)
    return table.at(rows if len(rows) == n else np.union1d(rows, _witnesses(table)))


def cells_of_large(table: LargeTable, schema: Schema, name: str) -> np.ndarray | StreamedRows:
    """Return the cells of a table by a schema; of files they are kept in a temporary file.

    Raises:
        LogvarError: a cell is not what its column is, or the disk is full.
    """
    from logvar.data.table.cells import cells_of

    if isinstance(table, InMemory):
        return cells_of(table.table, schema, name)
    shape = (len(table), len(schema.modelled))
    if isinstance(table, OfNumbers):

        def convert(rows: np.ndarray, where: Where) -> np.ndarray:
            return cells_of(table.of(rows), schema, name)

        return table.rows.converted(convert, np.float64, shape[1:])
    scratch = Scratch(table.name, shape, np.dtype(np.float64))
    for start, some in table.blocks():
        scratch.append(cells_of(some, schema, f"{name}, in the rows from {start:,} on,"))
    return scratch.rows()


def _witnesses(table: LargeTable) -> Int[np.ndarray, "some"]:
    """Return the rows that show what a sample may miss of a column."""
    seen: list[_Seen] = [_Seen() for _ in table.names]
    for start, some in table.blocks():
        for column, one in zip(some.columns, seen, strict=True):
            one.look(column, start)
    return np.unique(np.array([row for one in seen for row in one.rows()], np.int64))


class _Seen:
    """The values seen in a column, and the first row that showed each."""

    def __init__(self) -> None:
        self.levels: dict[Any, int] | None = {}
        self.low, self.high = (math.inf, -1), (-math.inf, -1)
        self.finer: dict[int, int] = {}

    def look(self, column: "pa.ChunkedArray", start: int) -> None:
        from logvar.data.table.arrow import family, numbers, plain

        kind = family(column.type)
        if kind in ("other", "empty"):
            return
        if kind in ("text", "category", "boolean"):
            self._levels_in(plain(column), start)
            return
        values = numbers(column)
        there = np.flatnonzero(np.isfinite(values))
        if not len(there):
            return
        values = values[there]
        for end, at in ((min, np.argmin(values)), (max, np.argmax(values))):
            found = (float(values[at]), start + int(there[at]))
            if end is min:
                self.low = min(self.low, found)
            elif found[0] > self.high[0]:
                self.high = found
        for decimals in range(_DECIMALS + 1):
            if decimals not in self.finer:
                off = np.flatnonzero(np.round(values, decimals) != values)
                if not len(off):
                    break  # no value has more decimals than these
                self.finer[decimals] = start + int(there[off[0]])

    def _levels_in(self, column: "pa.ChunkedArray", start: int) -> None:
        import pyarrow.compute as pc

        if self.levels is None:
            return
        for level in pc.unique(column).to_pylist():
            if level is not None and level not in self.levels:
                self.levels[level] = start + int(pc.index(column, level).as_py())
        if len(self.levels) > _MOST_LEVELS + 1:
            self.levels = None

    def rows(self) -> list[int]:
        """Return the rows that show it."""
        ends = [row for _, row in (self.low, self.high) if row >= 0]
        return [*(self.levels or {}).values(), *ends, *self.finer.values()]
