"""Files of tables, as people have them: .csv, .tsv, .parquet, .arrow."""

from pathlib import Path

import pyarrow as pa

from logvar.data.table.frame import FILES, Table, as_table
from logvar.errors import LogvarError


def read_table(path: str | Path, header: str = "auto") -> Table:
    """Read a table.

    Args:
        path: a .csv or .tsv file (.gz or not), a .parquet, .arrow or .feather file.
        header: whether the first row of a .csv file has the names: yes, no or auto.
    """
    import dataclasses

    from pyarrow import csv

    from logvar.data.table.texts import typed

    path = Path(path)
    if not str(path).lower().endswith(FILES):
        raise LogvarError(f"{path} ends in {path.suffix!r}: expected one of {', '.join(FILES)}")
    table = as_table(csv.read_csv(path), str(path))
    columns, notes = [], dict(table.notes)
    for name, column in zip(table.names, table.columns, strict=True):
        if pa.types.is_string(column.type):
            read = typed(column)
            column = read.column
            if read.note:
                notes[name] = read.note
        columns.append(column)
    return dataclasses.replace(table, columns=tuple(columns), notes=notes)
