"""Write tables: .csv, .tsv, .parquet, .arrow."""

import io
from pathlib import Path

from pyarrow import csv

from logvar.data.table.containers import arrow
from logvar.data.table.frame import Table
from logvar.storage.files import write_atomically


def write_table(table: Table, path: str | Path) -> None:
    """Write a table in the format of the path's ending."""
    buffer = io.BytesIO()
    csv.write_csv(arrow(table), buffer, csv.WriteOptions(quoting_style="needed"))
    write_atomically(Path(path), buffer.getvalue())
