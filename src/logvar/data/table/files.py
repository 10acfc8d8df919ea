"""Files of tables that are read in parts: Parquet by row groups, Arrow and Feather by batches."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from pyarrow import parquet

from logvar.data.streams.files import Opened
from logvar.data.table.frame import Table, as_table
from logvar.data.table.large import rows_at_once
from logvar.data.table.reading import BROKEN, pandas_index, read_table, unreadable
from logvar.data.table.schema import Name
from logvar.errors import LogvarError


@dataclasses.dataclass(frozen=True, eq=False)
class TableFiles:
    """Tables in files, one below the other.

    Args:
        files: the files as they were when they were opened.
        counts: the rows of each.
        names: the names of the columns.
        row_labels: which of them label rows, such as pandas' index.
    """

    files: tuple[Opened, ...]
    counts: tuple[int, ...]
    names: tuple[Name, ...]
    row_labels: tuple[Name, ...]
    container: ClassVar[str] = "arrow"

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "TableFiles":
        """Open files without reading their rows.

        Raises:
            LogvarError: one cannot be read, is empty, or has other columns than the first.
        """
        opened = tuple(map(Opened.of, paths))
        found = [_described(path) for path in paths]
        schema, start = found[0][0], 0
        for path, (own, rows) in zip(paths, found, strict=True):
            if own.names != schema.names or own.types != schema.types:
                raise LogvarError(
                    f"{path} (from row {start:,} of all) has "
                    f"{_difference(own, schema, str(paths[0]))}: expected the same columns of the "
                    "same types in all files"
                )
            start += rows
        labels = tuple(name for name in pandas_index(schema.metadata) if name in schema.names)
        return cls(opened, tuple(rows for _, rows in found), tuple(schema.names), labels)

    @property
    def name(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0].path}{more}"

    def __len__(self) -> int:
        return sum(self.counts)

    def blocks(self) -> Iterator[tuple[int, Table]]:
        start = 0
        for first, batch in self._numbered(None, None):
            yield first, self._table(pa.Table.from_batches([batch]))
            start = first + len(batch)
        if start != len(self):
            raise LogvarError(
                f"{self.name} gave {start:,} rows, and said {len(self):,}: expected whole files; "
                "copy them again"
            )

    def at(self, rows: Int[np.ndarray, "some"]) -> Table:
        if len(rows) == len(self):
            return self.whole()
        taken = []
        for first, batch in self._numbered(None, rows):
            low, high = np.searchsorted(rows, [first, first + len(batch)])
            if low < high:
                taken.append(batch.take(pa.array(rows[low:high] - first)))
        return self._table(pa.Table.from_batches(taken))

    def columns(self, names: Sequence[Name]) -> Table:
        return self._joined(list(map(str, names)))

    def whole(self) -> Table:
        if len(self.files) == 1:
            return read_table(self.files[0].path)
        return self._joined(None)

    def _joined(self, columns: list[str] | None) -> Table:
        batches = [batch for _, batch in self._numbered(columns, None)]
        return self._table(pa.Table.from_batches(batches))

    def _table(self, some: pa.Table) -> Table:
        found = as_table(some, self.name)
        return dataclasses.replace(found, row_labels=self.row_labels)

    def _numbered(
        self, columns: list[str] | None, rows: Int[np.ndarray, "some"] | None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (the number of its first row, a batch); row groups without any of these increasing
        rows are not decoded."""
        size, start = rows_at_once(self), 0
        try:
            for opened, count in zip(self.files, self.counts, strict=True):
                first, start = start, start + count
                opened.check()
                own = None if rows is None else rows[slice(*np.searchsorted(rows, [first, start]))]
                if own is not None and not len(own):
                    continue
                try:
                    for at, batch in _batches_of(
                        opened.path, size, columns, None if own is None else own - first
                    ):
                        yield first + at, batch
                except BROKEN as error:
                    opened.check()
                    raise unreadable(opened.path, error, "a whole file") from error
                opened.check()
        finally:
            # Arrow keeps what decoding has used, some 100 MB, and training needs it.
            pa.default_memory_pool().release_unused()


def _described(path: Path) -> tuple[pa.Schema, int]:
    """Return the columns of a file and the number of its rows."""
    try:
        if path.suffix.lower() == ".parquet":
            with parquet.ParquetFile(path) as file:
                return file.schema_arrow, file.metadata.num_rows
        with pa.OSFile(str(path)) as source:
            if (opened := _opened(source)) is None:
                reader = pa.ipc.open_stream(source)
                return reader.schema, sum(len(batch) for batch in reader)
            # The first column has as many rows as all of them.
            first = _opened(source, [0]) if len(opened.schema) else None
            counted = first or opened
            return opened.schema, sum(
                len(counted.get_batch(i)) for i in range(counted.num_record_batches)
            )
    except BROKEN as error:
        ending = path.suffix.lower()
        raise unreadable(path, error, f"a whole {ending} file") from error


def _batches_of(
    path: Path, size: int, columns: list[str] | None, rows: Int[np.ndarray, "some"] | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (its first row, a batch) of a file."""
    start = 0
    if path.suffix.lower() == ".parquet":
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                at, start = start, start + count
                if rows is not None and np.diff(np.searchsorted(rows, [at, start]))[0] == 0:
                    continue
                for batch in file.iter_batches(size, [group], columns, use_threads=False):
                    yield at, batch
                    at += len(batch)
        return
    with pa.OSFile(str(path)) as source:
        opened = _opened(source)
        batches = (
            iter(pa.ipc.open_stream(source))
            if opened is None
            else map(opened.get_batch, range(opened.num_record_batches))
        )
        at = 0
        for batch in batches:
            chosen = batch if columns is None else batch.select(columns)
            for start in range(0, len(chosen), size):
                yield at + start, chosen.slice(start, size)
            at += len(chosen)


def _opened(
    source: pa.OSFile, fields: list[int] | None = None
) -> pa.ipc.RecordBatchFileReader | None:
    """Return a reader of a file in Arrow's format, of which Feather is one; None for a stream.

    The file is read and not mapped into memory: where one has become shorter, a map would end the
    process without a word.

    Args:
        source: the file.
        fields: the numbers of the columns to read; all if they are not given.
    """
    source.seek(0)
    start = source.read(6)
    source.seek(0)
    if start.startswith(b"FEA1"):
        raise pa.ArrowInvalid("the first version of Feather, which is read as a whole only")
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    return pa.ipc.open_file(source, options=options) if start == b"ARROW1" else None


def _difference(own: pa.Schema, first: pa.Schema, name: str) -> str:
    for column, kind in zip(own.names, own.types, strict=True):
        if column not in first.names:
            return f"a column {column!r}, which {name} does not have"
        if (expected := first.field(column).type) != kind:
            return f"{kind} in column {column!r}, where {name} has {expected}"
    lacking = [column for column in first.names if column not in own.names]
    if lacking:
        return f"no column {lacking[0]!r}, which {name} has"
    return f"its columns in another order than {name}"
