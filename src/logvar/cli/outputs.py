"""Results of commands as files: tables with their columns, arrays, images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from logvar.cli import pictures
from logvar.cli.console import counted, say
from logvar.data import arrays
from logvar.data.paths import WRITABLE, ending
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.rows import beside
from logvar.data.table.schema import Name
from logvar.data.table.writing import write_table
from logvar.errors import LogvarError
from logvar.estimator import VAE


def refuse_its_data(out: Path, data: str) -> None:
    """Refuse an output that would overwrite the data; earlier results may be overwritten.

    Raises:
        LogvarError: `out` is the data.
    """
    if data and out.exists() and Path(data).exists() and out.samefile(data):
        raise LogvarError(f"--out {out} is the data itself: choose another --out")


def numbered(out: Path, copies: int) -> list[Path]:
    """Return the paths of several copies of an output.

    Example:
        >>> [path.name for path in numbered(Path("whole.csv.gz"), 2)]
        ['whole-1.csv.gz', 'whole-2.csv.gz']
    """
    end = out.name[len(out.name) - len(ending(out, WRITABLE)) :]
    start = out.name[: len(out.name) - len(end)]
    return [out.with_name(f"{start}-{i}{end}") for i in range(1, copies + 1)]


def write_examples(
    vae: VAE, out: Path, values: Any, files: Sequence[str] = (), what: str = "E[x | z]"
) -> None:
    """Write examples as they were given: a table with its columns, or an array or images.

    Args:
        vae: the model they come from.
        out: the output.
        values: rows as `VAE` returns them.
        files: the files that images come from.
        what: what the rows are, in words.

    Raises:
        LogvarError: a .npy file is asked of a table with texts.
    """
    if not is_table(values):
        pictures.write(vae, out, values, files, what)
        return
    table = as_table(values)
    if out.suffix.lower() == ".npy":
        arrays.write(out, _numbers(table, out))
    else:
        write_table(table, out)
    say(f"{out}: {counted(len(table), 'row')} of {counted(len(table.names), 'column')}, {what}")


def write_numbers(
    out: Path,
    numbers: np.ndarray,
    names: Sequence[str],
    carried: Table | None = None,
    files: Sequence[str] = (),
    further: Mapping[Name, Sequence[Any]] = MappingProxyType({}),
) -> None:
    """Write numbers, in a table beside the columns that name its rows.

    Args:
        out: the output; a .npy file has the numbers alone.
        numbers: (rows,) or (rows, columns).
        names: of these columns.
        carried: columns to their left.
        files: the file of each row, which becomes the first column.
        further: columns to their right.
    """
    if out.suffix.lower() == ".npy":
        arrays.write(out, numbers)
        say(f"{out}: {counted(len(numbers), 'row')}, {counted(len(names), 'column')}")
        return
    if files:
        carried = beside(carried, {"file": list(files)})
    columns: dict[Name, Any] = dict(zip(names, numbers.reshape(len(numbers), -1).T, strict=True))
    columns.update(further)
    table = beside(carried, columns)
    write_table(table, out)
    say(f"{out}: {counted(len(table), 'row')}, {counted(len(table.names), 'column')}")


def _numbers(table: Table, out: Path) -> np.ndarray:
    from logvar.data.table.arrow import family, numbers

    texts = [
        str(name)
        for name, column in zip(table.names, table.columns, strict=True)
        if family(column.type) not in ("integer", "float", "decimal", "boolean")
    ]
    if texts:
        raise LogvarError(
            f"--out {out} holds numbers alone, and {len(texts)} columns are none "
            f"({', '.join(texts[:5])}): give a .csv or .parquet file"
        )
    return np.column_stack([numbers(column) for column in table.columns])
