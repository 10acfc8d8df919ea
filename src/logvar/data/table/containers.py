"""`Table` → the container that came in, with its own types."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import family, plain, python_values
from logvar.data.table.frame import Table
from logvar.errors import LogvarError


def native(table: Table, container: str) -> Any:
    """Return a table as a container of the kind that `as_table` names.

    Raises:
        LogvarError: the kind is unknown.
    """
    name, _, dtype = container.partition(" ")
    if name == "pandas":
        return _pandas(table)
    if name in _BUILDERS:
        return _BUILDERS[name](table)
    if name in ("array", "masked"):
        return _array(table, dtype, masked=name == "masked")
    import narwhals as nw

    try:
        return nw.from_arrow(arrow(table), backend=name).to_native()  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise LogvarError(
            f"tables cannot be given back as {container!r} ({error}): expected one of pandas, "
            f"{', '.join(_BUILDERS)}"
        ) from error


def arrow(table: Table) -> pa.Table:
    """Return an Arrow table."""
    return pa.Table.from_arrays(list(table.columns), [str(name) for name in table.names])


def usual_pandas_type(kind: pa.DataType) -> str:
    """Return the type that pandas gives a column of this Arrow type without being told."""
    if family(kind) == "category":
        return "category"
    return str(pa.chunked_array([], kind).to_pandas().dtype)


def _pandas(table: Table) -> Any:
    import pandas as pd

    columns = {}
    for i, (column, own) in enumerate(zip(table.columns, table.natives, strict=True)):
        dtype = pd.api.types.pandas_dtype(own) if own and own != "category" else None
        if dtype is not None and hasattr(dtype, "__from_arrow__"):
            columns[i] = pd.Series(dtype.__from_arrow__(column))
            continue
        series = column.to_pandas()
        series.name = None
        if (
            dtype is not None
            and series.dtype != dtype
            and not (dtype.kind in "iub" and column.null_count)
        ):
            series = series.astype(dtype)
        columns[i] = series
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(list(table.names))
    if table.index is not None and len(table.index) == len(frame):
        frame.index = table.index
    return frame


def _polars(table: Table) -> Any:
    import polars as pl

    frame = pl.from_arrow(arrow(table))
    assert isinstance(frame, pl.DataFrame)
    enums = []
    for name, column, own in zip(frame.columns, table.columns, table.natives, strict=True):
        if own == "Enum" and pa.types.is_dictionary(column.type):
            levels = column.unify_dictionaries().chunk(0).dictionary.to_pylist()
            enums.append(pl.col(name).cast(pl.String).cast(pl.Enum(levels)))
    return frame.with_columns(enums) if enums else frame


def _dict(table: Table) -> dict[Any, np.ndarray]:
    return {name: _numpy(column) for name, column in zip(table.names, table.columns, strict=True)}


def _lists(table: Table) -> dict[Any, list[Any]]:
    return {
        name: python_values(column) for name, column in zip(table.names, table.columns, strict=True)
    }


def _records(table: Table) -> list[dict[Any, Any]]:
    columns = [python_values(column) for column in table.columns]
    return [dict(zip(table.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _rows(table: Table) -> list[list[Any]]:
    return [list(row) for row in zip(*map(python_values, table.columns), strict=True)]


def _structured(table: Table, masked: bool = False) -> np.ndarray:
    columns = [_numpy(_filled(c) if masked else c) for c in table.columns]
    kinds = [
        np.dtype(own) if own else column.dtype
        for own, column in zip(table.natives, columns, strict=True)
    ]
    fields = [(str(name), kind) for name, kind in zip(table.names, kinds, strict=True)]
    rows = np.empty(len(table), fields)
    for name, column in zip(rows.dtype.names or (), columns, strict=True):
        if rows.dtype[name].kind in "US":
            column = np.array(["" if cell is None else cell for cell in column])
        if rows.dtype[name].kind in "iub" and column.dtype.kind == "f":
            raise LogvarError(
                f"column {name!r} has missing cells, which {rows.dtype[name]} cannot hold: give X "
                "as a masked array, or as a frame"
            )
        rows[name] = column
    return rows


def _masked_structured(table: Table) -> np.ndarray:
    rows = _structured(table, masked=True)
    mask = np.empty(len(table), [(name, bool) for name in rows.dtype.names or ()])
    for name, column in zip(rows.dtype.names or (), table.columns, strict=True):
        mask[name] = column.is_null().to_numpy()
    return np.ma.MaskedArray(rows, mask)


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Fill what a mask will cover, where NumPy's type cannot hold a missing cell."""
    kind = family(column.type)
    if not column.null_count or kind not in ("integer", "boolean"):
        return column
    return pc.fill_null(column, False if kind == "boolean" else 0)


def _recarray(table: Table) -> np.ndarray:
    return _structured(table).view(np.recarray)


def _object(table: Table) -> np.ndarray:
    rows = np.empty((len(table), len(table.names)), object)
    for i, column in enumerate(table.columns):
        rows[:, i] = python_values(column)
    return rows


def _array(table: Table, dtype: str, masked: bool) -> np.ndarray:
    columns = []
    for column in table.columns:
        columns.append(_numpy(_filled(column) if masked else column).astype(dtype))
    rows = np.column_stack(columns)
    if not masked:
        return rows
    mask = np.column_stack([column.is_null().to_numpy() for column in table.columns])
    return np.ma.MaskedArray(rows, mask)


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return one column as NumPy's nearest type; texts are objects, None where missing."""
    values = plain(column)
    kind = family(values.type)
    if kind in ("text", "decimal", "time") or (kind == "boolean" and values.null_count):
        return np.array([*values.to_pylist(), None], object)[:-1]
    return values.to_numpy()


_BUILDERS = {
    "polars": _polars, "arrow": arrow, "dict": _dict, "lists": _lists, "records": _records,
    "structured": _structured, "recarray": _recarray, "masked-structured": _masked_structured,
    "object": _object, "rows": _rows,
}  # fmt: skip
