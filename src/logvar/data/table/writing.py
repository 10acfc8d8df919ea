"""`Table` → a file: .csv and .tsv (.gz too), .parquet, .arrow and .feather."""

import gzip
import io
from pathlib import Path

import pyarrow as pa

from logvar.data.paths import TABLES, ending
from logvar.data.table.arrow import family, symbol_of, unit_of
from logvar.data.table.containers import arrow
from logvar.data.table.frame import Table
from logvar.errors import LogvarError
from logvar.storage.files import write_atomically


def write_table(table: Table, path: str | Path) -> None:
    """Write a table in the format of the path's ending; missing cells of a .csv are empty.

    Raises:
        LogvarError: the ending is unknown, a column's type cannot be written, or the disk is full.
    """
    path = Path(path)
    form = ending(path, TABLES)
    if not form:
        raise LogvarError(f"{path} ends in {path.suffix!r}: expected one of {', '.join(TABLES)}")
    buffer = io.BytesIO()
    try:
        if form == ".parquet":
            from pyarrow import parquet

            parquet.write_table(arrow(table), buffer)
        elif form in (".arrow", ".feather"):
            whole = arrow(table)
            with pa.ipc.new_file(buffer, whole.schema) as writer:
                writer.write_table(whole)
        else:
            _write_delimited(table, buffer, "\t" if ".tsv" in form else ",")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise LogvarError(
            f"the table cannot be written as {path} ({reason}): give --out another ending, such as "
            ".parquet"
        ) from error
    content = buffer.getvalue()
    if form.endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # the same table, the same bytes
    write_atomically(path, content)


def _write_delimited(table: Table, buffer: io.BytesIO, delimiter: str) -> None:
    from pyarrow import csv

    columns = [_as_written(column) for column in table.columns]
    whole = pa.Table.from_arrays(columns, [str(name) for name in table.names])
    options = csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
    csv.write_csv(whole, buffer, options)


def _as_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates as texts, and moments without needless digits."""
    if pa.types.is_timestamp(column.type):
        unit, zone = unit_of(column), column.type.tz
        coarse = pa.timestamp(symbol_of(unit), zone)
        column = column.cast(pa.date32() if unit == "days" and not zone else coarse, safe=False)
    if family(column.type) == "date":
        column = column.cast(pa.string())
    return column
