"""Results of commands as files, one block after another: tables with their columns, arrays."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from logvar.cli import pictures
from logvar.cli.console import counted, say
from logvar.data.arrays import ArrayWriter
from logvar.data.paths import WRITABLE, ending
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.rows import beside
from logvar.data.table.schema import Name
from logvar.data.table.writing import TableWriter
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


class _Output:
    """A file that appears when the `with` ends without an error, which is then said."""

    def __init__(self) -> None:
        self._open: contextlib.ExitStack = contextlib.ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Any:
        self._open.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self._open.__exit__(kind, *rest)
        if kind is None:
            say(self._said())

    def _said(self) -> str:
        raise NotImplementedError


class Examples(_Output):
    """Examples as they were given: a table with its columns, or an array or images.

    Args:
        vae: the model they come from.
        out: the output.
        rows: how many there will be.
        files: the files that images come from.
        what: what the rows are, in words.
    """

    def __init__(
        self, vae: VAE, out: Path, rows: int, files: Sequence[str] = (), what: str = "E[x | z]"
    ):
        super().__init__()
        self._vae, self._out, self._rows = vae, out, rows
        self._files, self._what = files, what
        self._columns = 0

    def append(self, values: Any) -> None:
        """Write the next rows, as `VAE` returns them.

        Raises:
            LogvarError: a .npy file is asked of a table with texts.
        """
        if not is_table(values):
            if self._writer is None:
                made = pictures.Examples(self._vae, self._out, self._rows, self._files, self._what)
                self._writer = self._open.enter_context(made)
            self._writer.append(values)
            return
        table = as_table(values)
        self._columns = len(table.names)
        if self._out.suffix.lower() == ".npy":
            numbers = _numbers(table, self._out)
            if self._writer is None:
                self._writer = self._open.enter_context(ArrayWriter(self._out, self._rows))
            self._writer.append(numbers)
            return
        if self._writer is None:
            form = self._vae.fitted_.table
            columns = () if form is None else form.schema.columns
            self._writer = self._open.enter_context(TableWriter(self._out, columns))
        self._writer.append(table)

    def _said(self) -> str:
        if isinstance(self._writer, pictures.Examples):
            return self._writer.said
        columns = counted(self._columns, "column")
        return f"{self._out}: {counted(self._rows, 'row')} of {columns}, {self._what}"


class Numbers(_Output):
    """Numbers, in a table beside the columns that name its rows.

    Args:
        out: the output; a .npy file has the numbers alone.
        rows: how many rows there will be.
        names: of the columns of numbers.
    """

    def __init__(self, out: Path, rows: int, names: Sequence[str]):
        super().__init__()
        self._out, self._rows, self._names = out, rows, names
        self._columns = len(names)

    def append(
        self,
        numbers: np.ndarray,
        carried: Table | None,
        further: Mapping[Name, Any] = MappingProxyType({}),
    ) -> None:
        """Write the next rows.

        Args:
            numbers: (rows,) or (rows, columns).
            carried: columns to their left.
            further: columns to their right.
        """
        if self._out.suffix.lower() == ".npy":
            if self._writer is None:
                self._writer = self._open.enter_context(ArrayWriter(self._out, self._rows))
            self._writer.append(numbers)
            return
        if carried is not None:
            carried = _as_values(carried)
        flat = numbers.reshape(len(numbers), -1)
        columns: dict[Name, Any] = dict(zip(self._names, flat.T, strict=True))
        table = beside(carried, columns | dict(further))
        self._columns = len(table.names)
        if self._writer is None:
            self._writer = self._open.enter_context(TableWriter(self._out))
        self._writer.append(table)

    def _said(self) -> str:
        return f"{self._out}: {counted(self._rows, 'row')}, {counted(self._columns, 'column')}"


def _as_values(table: Table) -> Table:
    """Return a table with its categories as values, whose dictionaries differ between blocks."""
    from logvar.data.table.arrow import plain

    return dataclasses.replace(table, columns=tuple(map(plain, table.columns)))


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
