"""Any container of a table → `Table`: named Arrow columns, in which null is a missing cell."""

import dataclasses
import datetime
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logvar.data.paths import TABLES, ending
from logvar.data.table.schema import Name
from logvar.errors import LogvarError, LogvarTypeError

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_NUMBERS = (str, bytes, datetime.date, datetime.time, datetime.timedelta, np.datetime64)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Columns of equal length with distinct names; a null is a missing cell."""

    names: tuple[Name, ...]
    columns: "tuple[pa.ChunkedArray, ...]"
    container: str
    """The container it came in: pandas, polars, arrow, dict, lists, records, structured …"""
    natives: tuple[str, ...] = ()
    """For each column the container's own type, unless it is the usual one for the Arrow type."""
    marks: Mapping[Name, str] = dataclasses.field(default_factory=dict)
    """For some columns, the texts that were read as missing cells."""
    notes: Mapping[Name, str] = dataclasses.field(default_factory=dict)
    """For some columns, how their cells were read."""
    notations: Mapping[Name, str] = dataclasses.field(default_factory=dict)
    """For some columns of a text file, how it writes their cells; see `table.notation`."""
    remarks: tuple[str, ...] = ()
    """Remarks about the file."""
    row_labels: tuple[Name, ...] = ()
    """Columns that are labels of rows in a file, such as pandas' index."""
    index: Any = None
    """The index of a pandas frame."""

    def __post_init__(self) -> None:
        if not self.natives:
            object.__setattr__(self, "natives", ("",) * len(self.names))

    def __repr__(self) -> str:
        return f"<Table of {len(self):,} rows and {len(self.names):,} columns, {self.container}>"

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __getitem__(self, name: Name) -> "pa.ChunkedArray":
        return self.columns[self.names.index(name)]


def is_table(X: Any) -> bool:
    """Return whether X is a table with columns of its own rather than an array of numbers.

    Tables are frames (pandas, polars, Arrow, and what narwhals knows), dicts of columns, lists of
    dicts, paths of table files, NumPy's structured arrays, and arrays of two axes that are masked
    or have texts or dates among their cells, as lists of rows may have.

    Example:
        >>> is_table({"age": [39, None]}), is_table(np.zeros((3, 2)))
        (True, False)
    """
    if isinstance(X, Table | Mapping):
        return True
    if isinstance(X, str | Path):
        return bool(ending(X, TABLES))
    if isinstance(X, np.ndarray):
        if X.dtype.names is not None:
            return True
        if X.ndim != 2:
            return False
        if X.dtype.kind == "O":
            return any(isinstance(cell, _NOT_NUMBERS) for cell in X.flat)
        return X.dtype.kind in "USTM" or isinstance(X, np.ma.MaskedArray)
    if isinstance(X, list | tuple):
        if not X or isinstance(X[0], Mapping):
            return len(X) > 0
        rows = all(isinstance(row, list | tuple) for row in X)
        return rows and any(isinstance(cell, _NOT_NUMBERS) for row in X for cell in row)
    if type(X).__module__.split(".")[0] in ("numpy", "jax", "jaxlib", "scipy"):
        return False
    return _is_frame(X)


def as_table(X: Any, name: str = "X") -> Table:
    """Return X as a table.

    Texts that mark a missing cell (`?`, `NA`, `nan`, `null`, an empty one …) and NaN become nulls.

    Args:
        X: what `is_table` accepts.
        name: what X is called in errors.

    Raises:
        LogvarError: it has no rows or no columns, a name comes twice or is no name, the cells of a
            column are of no one type, or X is no table at all.

    Example:
        >>> table = as_table({"age": [39, None], "sex": ["Female", "?"]})
        >>> table.names, [column.null_count for column in table.columns]
        (('age', 'sex'), [1, 1])
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, str | Path):
        from logvar.data.table.reading import read_table

        return read_table(X)
    if isinstance(X, np.ndarray):
        return _of_array(X, name)
    if isinstance(X, Mapping):
        container = "lists" if all(isinstance(c, list | tuple) for c in X.values()) else "dict"
        return _built(list(X), list(X.values()), container, name)
    if isinstance(X, list | tuple) and X and isinstance(X[0], Mapping):
        for row, record in enumerate(X):
            if not isinstance(record, Mapping):
                raise LogvarTypeError(
                    f"{name} is a list of dicts, but row {row} is a {type(record).__name__}: "
                    "expected a dict for each row"
                )
        names = list(dict.fromkeys(key for record in X for key in record))
        return _built(names, [[r.get(key) for r in X] for key in names], "records", name)
    if isinstance(X, list | tuple) and X and isinstance(X[0], list | tuple):
        return _of_rows(X, name)
    if not _is_frame(X):
        raise LogvarTypeError(
            f"{name} is a {type(X).__name__}: expected a table (a pandas, polars or Arrow frame, a "
            "dict of columns, a list of dicts, a structured, object or masked array, or the path "
            "of a table file)"
        )
    return _of_frame(X, name)


def back(table: Table, container: str) -> Any:
    """Return a table as the kind of container that came in."""
    from logvar.data.table.containers import native

    return native(table, container)


def _is_frame(X: Any) -> bool:
    if hasattr(X, "__arrow_c_stream__") and hasattr(X, "__getitem__"):
        return not type(X).__name__.startswith(("Series", "ChunkedArray"))
    from narwhals.dependencies import is_into_dataframe

    return is_into_dataframe(X) or type(X).__name__ == "LazyFrame"


def _of_frame(X: Any, name: str) -> Table:
    import narwhals as nw
    import pyarrow as pa

    if type(X).__name__ == "LazyFrame":
        X = X.collect()
    if isinstance(X, pa.RecordBatch):
        X = pa.Table.from_batches([X])
    if isinstance(X, pa.Table):
        return _built(X.column_names, X.columns, "arrow", name)
    module = type(X).__module__.split(".")[0]
    if module == "pandas":
        return _of_pandas(X, name)
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        table = pa.table(X)
        return _built(table.column_names, table.columns, "arrow", name)
    series = [frame.get_column(column) for column in frame.columns]
    natives = ["Enum" if isinstance(one.dtype, nw.Enum) else "" for one in series]
    cells = [one.to_arrow() for one in series]
    for i, own in enumerate(natives):
        if own:  # as newer versions of polars say it themselves
            kind = cells[i].type
            cells[i] = cells[i].cast(pa.dictionary(kind.index_type, kind.value_type, True))
    container = "polars" if frame.implementation.is_polars() else frame.implementation.value
    return _built(frame.columns, cells, container, name, natives)


def _of_rows(X: Sequence[Sequence[Any]], name: str) -> Table:
    width = len(X[0])
    for row, cells in enumerate(X):
        if not isinstance(cells, list | tuple) or len(cells) != width:
            got = f"{len(cells)} cells" if isinstance(cells, list | tuple) else repr(cells)
            raise LogvarError(f"{name} has {got} in row {row}: expected {width}, as in row 0")
    columns = [[cells[i] for cells in X] for i in range(width)]
    return _built(list(range(width)), columns, "rows", name)


def _of_pandas(X: Any, name: str) -> Table:
    from logvar.data.table.containers import usual_pandas_type

    if X.columns.nlevels > 1:
        raise LogvarError(
            f"{name}'s columns have {X.columns.nlevels} levels of names: expected one; join them, "
            "as in X.columns = ['_'.join(map(str, c)) for c in X.columns]"
        )
    columns = [X.iloc[:, i] for i in range(X.shape[1])]
    columns = [c.sparse.to_dense() if str(c.dtype).startswith("Sparse") else c for c in columns]
    table = _built(list(X.columns), columns, "pandas", name)
    own = [str(column.dtype) for column in columns]
    natives = tuple(
        "" if dtype == usual_pandas_type(column.type) else dtype
        for dtype, column in zip(own, table.columns, strict=True)
    )
    plain = X.index.name is None and X.index.equals(type(X)(index=range(len(X))).index)
    return dataclasses.replace(table, natives=natives, index=None if plain else X.index)


def _of_array(X: np.ndarray, name: str) -> Table:
    if X.dtype.names is not None:
        if X.ndim != 1:
            raise LogvarError(
                f"{name} is a structured array of shape {X.shape}: expected (rows,); use X.ravel()"
            )
        names = list(X.dtype.names)
        masked = isinstance(X, np.ma.MaskedArray)
        plain = "recarray" if isinstance(X, np.recarray) else "structured"
        container = "masked-structured" if masked else plain
        natives = [X.dtype[field].str for field in names]
        return _built(names, [X[field] for field in names], container, name, natives)
    if X.ndim != 2:
        raise LogvarError(
            f"{name} has shape {X.shape}: expected (rows, columns); Reshape your data, with "
            "X.reshape(-1, 1) if it is one column"
        )
    if isinstance(X, np.ma.MaskedArray):
        container = f"masked {X.dtype.str}"
    else:
        container = f"array {X.dtype.str}" if X.dtype.kind == "M" else "object"
    columns = [X[:, i] for i in range(X.shape[1])]
    table = _built(list(range(X.shape[1])), columns, container, name)
    if X.dtype.kind not in "UST":
        return table
    from logvar.data.table.texts import typed

    # NumPy made texts of all cells, numbers included.
    return dataclasses.replace(table, columns=tuple(typed(c).column for c in table.columns))


def _built(
    names: Sequence[Any], cells: Sequence[Any], container: str, where: str,
    natives: Sequence[str] = (),
) -> Table:  # fmt: skip
    """Check names and lengths, and convert every column; all columns' problems come at once."""
    from logvar.data.table.texts import without_marks

    names = [_name(given, where) for given in names]
    twice = [f"{name!r} ({n} times)" for name, n in Counter(names).items() if n > 1]
    if twice:
        raise LogvarError(
            f"{where} has columns of the same name: {', '.join(twice)}; rename or remove them"
        )
    columns, problems = [], []
    for name, given in zip(names, cells, strict=True):
        try:
            columns.append(_column(given))
        except LogvarError as error:
            problems.append(f"column {name!r} {error}")
    if problems:
        raise LogvarError(f"{where}: {'; '.join(problems)}")
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        example = ", ".join(f"{n!r} {len(c):,}" for n, c in zip(names[:5], columns, strict=False))
        raise LogvarError(f"{where}'s columns are of different lengths ({example}): expected one")
    if not columns or lengths == {0}:
        rows = len(columns[0]) if columns else 0
        # scikit-learn's own words, which its checks look for
        raise LogvarError(
            f"{where} has {len(columns)} feature(s) and {rows} sample(s) (shape=({rows}, "
            f"{len(columns)})) while a minimum of 1 is required"
        )
    cleaned = [without_marks(column) for column in columns]
    marks = {name: seen for name, (_, seen) in zip(names, cleaned, strict=True) if seen}
    return Table(
        tuple(names), tuple(column for column, _ in cleaned), container, tuple(natives), marks
    )


def _name(given: Any, where: str) -> Name:
    if isinstance(given, str):
        return str(given)
    if isinstance(given, numbers.Integral) and not isinstance(given, bool | np.bool_):
        return int(given)
    if isinstance(given, numbers.Real) and not isinstance(given, bool | np.bool_):
        return float(given)
    raise LogvarTypeError(
        f"{where} has a column named {given!r} ({type(given).__name__}): expected texts or numbers "
        "as names; rename it"
    )


def _column(given: Any) -> "pa.ChunkedArray":
    """Return one column in Arrow's memory; the error lacks the column's name."""
    import pyarrow as pa

    if isinstance(given, pa.ChunkedArray):
        return given
    if isinstance(given, pa.Array):
        return pa.chunked_array([given])
    if isinstance(given, str | bytes) or not hasattr(given, "__len__"):
        raise LogvarTypeError(f"is {given!r:.60}: expected a list or array with one cell a row")
    mask = None
    if isinstance(given, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(given)
        given = given.data
    if isinstance(given, np.ndarray):
        if given.ndim != 1:
            raise LogvarTypeError(f"has shape {given.shape}: expected one cell a row")
        if given.dtype.kind == "V" or given.dtype.name.startswith(("bfloat16", "float8")):
            given = given.astype(np.float32)  # ml_dtypes' types, which Arrow does not know
        elif given.dtype.kind in "UST":
            given = given.astype(object) if given.dtype.kind != "S" else np.char.decode(given)
        elif given.dtype.kind == "c":
            raise LogvarTypeError("holds complex numbers: expected real ones; split them")
        elif given.dtype.kind in "mM" and np.datetime_data(given.dtype)[0] in "YMWhm":
            day = given.dtype.kind == "M" and np.datetime_data(given.dtype)[0] in "YMW"
            given = given.astype(f"{given.dtype.kind}8[{'D' if day else 's'}]")
        elif not given.dtype.isnative:
            given = given.astype(given.dtype.newbyteorder("="))
    try:
        column = pa.array(given, from_pandas=True, mask=mask)
    except (
        pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, OverflowError,
    ) as error:  # fmt: skip
        raise LogvarTypeError(_what_is_wrong(given, error)) from error
    if pa.types.is_decimal(column.type):  # as Arrow infers it, 9.99 would be the largest number
        column = column.cast(pa.decimal128(38, column.type.scale))
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _what_is_wrong(given: Any, error: Exception) -> str:
    """Name the types that do not go together, with the first row of each."""
    first: dict[str, str] = {}
    for row, cell in enumerate(given):
        if cell is not None and cell == cell:
            name = type(cell).__name__
            first.setdefault(name, f"{name} (row {row}: {cell!r:.40})")
    if len(first) > 1:
        return (
            f"mixes {' and '.join(first.values())}: expected one type; convert it, as in "
            "X[column].astype(str), or drop it"
        )
    return f"cannot be read ({str(error).splitlines()[0]}): expected numbers, texts or dates"
