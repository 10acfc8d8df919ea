"""Rows and columns of a table, and two tables side by side."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from logvar.data.table.frame import Table
from logvar.data.table.schema import Name, Schema


def rows_of(table: Table, indices: np.ndarray) -> Table:
    """Return some rows of a table, in the order of the indices."""
    import pyarrow as pa

    which = pa.array(np.asarray(indices, np.int64))
    columns = tuple(column.take(which) for column in table.columns)
    index = table.index[indices] if table.index is not None else None
    return dataclasses.replace(table, columns=columns, index=index)


def rows_between(table: Table, start: int, stop: int) -> Table:
    """Return consecutive rows of a table, without copying them."""
    columns = tuple(column.slice(start, stop - start) for column in table.columns)
    index = table.index[start:stop] if table.index is not None else None
    return dataclasses.replace(table, columns=columns, index=index)


def columns_of_kinds(table: Table, schema: Schema, kinds: Sequence[str]) -> Table | None:
    """Return the columns of a table that the schema says are of these kinds; None if none are."""
    wanted = {str(column.name).strip() for column in schema if column.kind in kinds}
    which = [i for i, name in enumerate(table.names) if str(name).strip() in wanted]
    if not which:
        return None
    return Table(
        tuple(table.names[i] for i in which),
        tuple(table.columns[i] for i in which),
        table.container,
    )


def beside(table: Table | None, columns: Mapping[Name, Any]) -> Table:
    """Return a table with further columns on its right; a name that it has gets a "_" more.

    Args:
        table: the columns on the left, if there are any.
        columns: arrays or lists of texts and numbers by their names; NaN is a missing cell.
    """
    import pyarrow as pa

    names = list(table.names) if table is not None else []
    chunked = list(table.columns) if table is not None else []
    for name, values in columns.items():
        while name in names:
            name = f"{name}_"
        names.append(name)
        if isinstance(values, np.ndarray):
            values = np.ascontiguousarray(values)
        if not isinstance(values, pa.Array):
            values = pa.array(values, from_pandas=True)
        chunked.append(pa.chunked_array([values]))
    return Table(tuple(names), tuple(chunked), "arrow")


def with_columns(table: Table, other: Table | None) -> Table:
    """Return a table with those columns of another that it has by name."""
    if other is None:
        return table
    columns = tuple(
        other[name] if name in other.names else column
        for name, column in zip(table.names, table.columns, strict=True)
    )
    return dataclasses.replace(table, columns=columns)
