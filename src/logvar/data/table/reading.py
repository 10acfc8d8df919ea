"""Files of tables → `Table`: .csv and .tsv (.gz too), .parquet, .arrow and .feather."""

import dataclasses
import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.paths import TABLES, ending
from logvar.data.table import delimited
from logvar.data.table.choices import HEADERS
from logvar.data.table.frame import Table, as_table
from logvar.data.table.notation import number_of, of_plain_numbers
from logvar.data.table.schema import Name
from logvar.data.table.texts import Typed, typed
from logvar.errors import LogvarError

_log = logging.getLogger("logvar")
BROKEN = (
    pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OSError, UnicodeDecodeError,
)  # fmt: skip


def read_table(path: str | Path, header: str = "auto") -> Table:
    """Read a table from a file, in the format of its ending.

    Of a .csv file the encoding, the delimiter, the header, decimal commas and dates are found;
    what is remarkable is logged. A column of row labels, such as pandas' index, is known as such.

    Args:
        path: a .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .arrow or .feather file.
        header: whether the first row of a .csv file has the columns' names: yes, no or auto.

    Raises:
        LogvarError: the ending is unknown, the file is broken or empty, its rows are of different
            lengths, or a name comes twice.
    """
    path = Path(path)
    if header not in HEADERS:
        raise LogvarError(f"header is {header!r}: expected one of {', '.join(HEADERS)}")
    if not ending(path, TABLES):
        raise LogvarError(f"{path} ends in {path.suffix!r}: expected one of {', '.join(TABLES)}")
    if not path.is_file():
        raise LogvarError(f"there is no file {path}: check the path")
    if path.suffix.lower() == ".parquet":
        table = _of_parquet(path)
    elif path.suffix.lower() in (".arrow", ".feather"):
        table = _of_arrow(path)
    else:
        table = _of_delimited(path, header)
    for remark in table.remarks:
        _log.info("%s: %s", path, remark)
    return table


def _of_delimited(path: Path, header: str) -> Table:
    parts = delimited.read(path, header)
    whole = pa.Table.from_arrays(list(parts.columns), list(parts.names))
    table = as_table(whole, str(path))
    reads = [typed(c) if pa.types.is_string(c.type) else Typed(c) for c in table.columns]
    if parts.delimiter == ";" or any("decimal commas" in read.note for read in reads):
        reads = [_with_commas(c, read) for c, read in zip(table.columns, reads, strict=True)]
    notes: dict[Name, str] = {}
    notations: dict[Name, str] = {}
    marks = dict(table.marks)
    for name, read, sample in zip(table.names, reads, parts.samples, strict=True):
        form = read.notation or _decimals(read.column, sample)
        if form:
            notations[name] = form
        if read.note:
            notes[name] = read.note
        if read.marks:
            marks[name] = ", ".join(filter(None, (marks.get(name, ""), read.marks)))
    return dataclasses.replace(
        table, columns=tuple(read.column for read in reads), notes=notes, marks=marks,
        notations=notations, remarks=parts.remarks, row_labels=parts.row_labels,
    )  # fmt: skip


def _decimals(column: pa.ChunkedArray, sample: list[str]) -> str:
    """Return how many decimals the numbers have of which Arrow kept no texts, if they agree."""
    if not pa.types.is_floating(column.type) or not sample:
        return ""
    form = of_plain_numbers(pa.chunked_array([sample]))
    decimals = number_of(form).decimals
    if decimals is None:
        return ""
    values = pc.drop_null(column)
    same = pc.equal(pc.round(values, decimals), values)
    return form if pc.all(same).as_py() else ""


def _with_commas(column: pa.ChunkedArray, read: Typed) -> Typed:
    """Read `1.234` and `1,234` as the file's other numbers with decimal commas say."""
    integers = pa.types.is_integer(read.column.type) and not read.note
    return read if integers or column is read.column else typed(column, decimal_commas=True)


def _with_row_labels(table: pa.Table, names: list[str], path: Path) -> Table:
    """Return a table of Arrow; those of its columns that pandas wrote as an index are no column."""
    labels = tuple(name for name in pandas_index(table.schema.metadata) if name in names)
    return dataclasses.replace(as_table(table, str(path)), row_labels=labels)


def _of_parquet(path: Path) -> Table:
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        names = table.column_names  # decoding happens here
    except BROKEN as error:
        raise unreadable(path, error, "a whole .parquet file") from error
    return _with_row_labels(table, names, path)


def _of_arrow(path: Path) -> Table:
    content = path.read_bytes()
    try:
        if content.startswith(b"ARROW1"):
            table = pa.ipc.open_file(content).read_all()
        elif content.startswith(b"FEA1"):
            from pyarrow import feather

            table = feather.read_table(path)
        else:
            table = pa.ipc.open_stream(content).read_all()
        names = table.column_names
    except BROKEN as error:
        raise unreadable(path, error, "a whole file in Arrow's format") from error
    return _with_row_labels(table, names, path)


def pandas_index(metadata: dict[bytes, bytes] | None) -> list[str]:
    """Return the names of the columns that pandas wrote as a frame's index."""
    if not metadata or b"pandas" not in metadata:
        return []
    try:
        indices = json.loads(metadata[b"pandas"])["index_columns"]
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in indices if isinstance(name, str)]


def unreadable(path: Path, error: Exception, expected: str) -> LogvarError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return LogvarError(
        f"{path} cannot be read as its ending says ({reason}): expected {expected}; copy it again, "
        "or give it the ending of what it is"
    )
