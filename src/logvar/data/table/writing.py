"""`Table` → a file, whole or in blocks: .csv and .tsv (.gz too), .parquet, .arrow, .feather."""

import contextlib
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from logvar.data.paths import TABLES, ending
from logvar.data.table.containers import arrow
from logvar.data.table.frame import Table
from logvar.data.table.lines import Lines
from logvar.data.table.schema import Column
from logvar.errors import LogvarError
from logvar.storage.files import UnfinishedFile, writing

MOST_ROWS, MOST_CELLS = 1 << 20, 1 << 23
"""Rows and cells of a row group of .parquet, and of a batch of .arrow. They depend on the number of
columns alone, so that the file does not tell in which blocks it was written."""


def write_table(table: Table, path: str | Path, columns: Iterable[Column] = ()) -> None:
    """Write a table in the format of the path's ending; missing cells of a .csv are empty.

    Args:
        table: the table.
        path: the output.
        columns: what is known of its columns, such as how their own file writes dates.

    Raises:
        LogvarError: the ending is unknown, a column's type cannot be written, or the disk is full.
    """
    with TableWriter(path, columns) as writer:
        writer.append(table)


class TableWriter:
    """A file of a table that is written in blocks of rows; complete when the `with` ends.

    It has the same bytes whatever the blocks.

    Args:
        path: the output, whose ending says the format.
        columns: what is known of the columns: in .csv and .tsv files, numbers and dates are written
            in their notations.

    Raises:
        LogvarError: the ending is unknown, a column's type cannot be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> with TableWriter(path) as writer:
        ...     for cells in ([1, 2], [3]):
        ...         writer.append(Table(("a",), (pa.chunked_array([cells]),), "arrow"))
        >>> path.read_text().split()
        ['"a"', '1', '2', '3']
    """

    def __init__(self, path: str | Path, columns: Iterable[Column] = ()):
        self._path = Path(path)
        self._form = ending(self._path, TABLES)
        if not self._form:
            raise LogvarError(
                f"{path} ends in {self._path.suffix!r}: expected one of {', '.join(TABLES)}"
            )
        self._lines = Lines(".tsv" in self._form, tuple(columns))
        self._file = UnfinishedFile(self._path)
        self._sink: Any = self._file.raw
        if self._form.endswith(".gz"):
            # Without a name and a time: the same table, the same bytes.
            self._sink = gzip.GzipFile("", "wb", fileobj=self._file.raw, mtime=0)
        self._schema: pa.Schema | None = None
        self._writer: Any = None
        self._waiting: list[pa.Table] = []

    def append(self, table: Table) -> None:
        """Write the next rows, whose columns are those of the first block."""
        with self._errors():
            block = arrow(table)
            if self._schema is None:
                self._schema = block.schema
            block = block.cast(self._schema)
            if self._form in (".parquet", ".arrow", ".feather"):
                self._waiting.append(block)
                self._write_groups()
                return
            for lines in self._lines.of(block):
                self._sink.write(lines)

    def _write_groups(self, at_the_end: bool = False) -> None:
        """Write as many rows as make a whole group; at the end, all."""
        assert self._schema is not None
        group = max(1, min(MOST_ROWS, MOST_CELLS // max(1, len(self._schema))))
        while sum(map(len, self._waiting)) >= group or (at_the_end and self._waiting):
            whole = pa.concat_tables(self._waiting)
            some, rest = whole.slice(0, group).combine_chunks(), whole.slice(group)
            self._waiting = [rest] * (len(rest) > 0)
            if self._writer is None:
                self._writer = self._opened(some.schema)
            if self._form != ".parquet":
                # A copy, for a file of Arrow shows how its rows lay in memory.
                some = some.take(pa.array(range(len(some)), pa.int64()))
            self._writer.write_table(some)

    def _opened(self, schema: pa.Schema) -> Any:
        if self._form == ".parquet":
            from pyarrow import parquet

            return parquet.ParquetWriter(self._sink, schema)
        return pa.ipc.new_file(self._sink, schema)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with writing(self._path):
                yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            reason = str(error).splitlines()[0]
            raise LogvarError(
                f"the table cannot be written as {self._path} ({reason}): give --out another "
                "ending, such as .parquet"
            ) from error

    def _finish(self) -> None:
        with self._errors():
            if self._waiting:
                self._write_groups(at_the_end=True)
            if self._writer is not None:
                self._writer.close()
            if self._sink is not self._file.raw:
                self._sink.close()

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                self._file.discard()
                raise
        self._file.__exit__(kind)
