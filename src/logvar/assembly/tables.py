"""Whether X is modelled as a table, column by column, or as an array of numbers.

An array of real numbers without names keeps one likelihood for all of its columns, and so does a
frame of them, as long as their histograms look like bells. Whatever else a table holds (texts,
dates, integers, constants, holes in skewed columns) is modelled by `mixed`.
"""

import contextlib
import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from logvar.assembly.parts import KINDS, is_auto
from logvar.backend.sparse import Rows
from logvar.data.annotated import Cells, cells_of, is_annotated
from logvar.data.intake import dense_rows
from logvar.data.preparation import has_missing
from logvar.data.sparse import is_sparse, sparse_rows
from logvar.data.table.form import TableForm
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.schema import NUMBERS, Column, Schema, as_conditions, schema_given
from logvar.errors import BadCell, LogvarError

MIXED = "mixed"
ARRAY = "numbers"
"""The container of an array of numbers, which is given back as such."""
_PIXELS = 64
"""A two-dimensional array of uint8 with at least this many columns is read as pixels, if its values
reach beyond half of their range."""
_ENOUGH = 5000
_EXACT = 2.0**53
"""From here on every float64 is an integer."""
_SKEWNESS, _KURTOSIS = 1.0, 3.0
"""A column whose skewness or excess kurtosis is beyond these does not look like a bell."""


class Intake(NamedTuple):
    """X as rows of numbers; for a table, its cells."""

    rows: Rows
    form: TableForm | None
    """The form of the table; None for an array of numbers."""
    table: Table | None = None
    """X itself, if it is a table; its columns have the names of the schema."""
    row_names: Sequence[str] | None = None
    """The name of each row, if each has one."""
    features: tuple[str, ...] | None = None
    """The name of each column, if X is no table and yet has names."""
    repeated: int = 0
    """How many of them repeated an earlier one and have got a number."""
    condition: np.ndarray | None = None
    """(rows, size), what a conditional model is told of each row."""
    first: int = 0
    """The number of the first row, if these are a block of others."""
    holes: bool = False
    """Whether one of those others has a missing cell, so that all are read as rows that may."""

    def at(self, indices: np.ndarray) -> "Intake":
        """Return some of the rows, as they would have been taken in alone."""
        from logvar.data.table.rows import rows_of  # imports pyarrow

        names = self.row_names
        return self._replace(
            rows=self.rows[indices],
            table=None if self.table is None else rows_of(self.table, indices),
            row_names=None if names is None else [names[i] for i in indices],
            condition=None if self.condition is None else self.condition[indices],
        )

    @contextlib.contextmanager
    def naming(self, kept: np.ndarray | None = None) -> Iterator[None]:
        """Put the names of row and column into an error that is of one cell.

        Args:
            kept: the number in X of each row that is checked, if some are left out.
        """
        try:
            yield
        except BadCell as error:
            row = error.row if kept is None else int(kept[error.row])
            name = None if self.row_names is None else self.row_names[row]
            columns: Sequence[Any] | None = self.features
            if self.form is not None:
                columns = [column.name for column in self.form.schema.modelled]
            at = error.column
            raise error.named(
                name,
                columns[at] if columns and isinstance(at, int) and columns[at] != at else None,
                self.first + row,
            ) from None


def taken_in(
    X: Any,
    likelihood: str,
    schema: Any = None,
    name: str = "X",
    *,
    layer: str = "",
    conditions: Sequence[Any] = (),
) -> Intake:
    """Return X as rows for a model that is to be trained.

    Args:
        X: an array or a table.
        likelihood: the text of the recipe.
        schema: what the user says of the columns: None, a dict, a path or a `Schema`.
        name: what messages call X.
        layer: of an AnnData object, the layer to read instead of its X.
        conditions: names of columns that are a condition.

    Raises:
        LogvarError: X cannot be read, or the likelihood cannot read its columns.
    """
    named = likelihood.split("(")[0].strip()
    if is_annotated(X):
        return _of_cells(cells_of(X, layer, name), name, reads_sparse(named))
    if is_sparse(X) and reads_sparse(named):
        return Intake(sparse_rows(X, name), None)
    mixed, auto = named == MIXED, is_auto(likelihood)
    if _is_numbers_as_objects(X):
        X = dense_rows(X, name)
    if not is_table(X):
        rows = dense_rows(X, name)
        if rows.ndim != 2 or not (mixed or schema is not None or (auto and _is_mixed(rows))):
            return Intake(rows, None)
        X = rows
    table = as_table(X if is_table(X) else _columns_of(X), name)
    found = as_conditions(schema_given(schema, table), conditions)
    if not found.modelled:
        raise LogvarError(
            f"{name} has no column to model ({', '.join(c.kind for c in found)}): give at least "
            "one column another kind, as in schema={'age': 'real'}"
        )
    if not mixed:
        numbers = _as_numbers(found)
        if not auto:
            _check_numbers(numbers, likelihood)
            found = numbers
        elif _all_numbers(numbers):
            cells = _cells(table, numbers, name)
            if schema is None and not _is_mixed(cells) and not len(far_from_a_bell(cells)):
                return Intake(cells, TableForm(numbers, table.container, plain=True), table)
    return Intake(_cells(table, found, name), TableForm(found, table.container), table)


def taken_in_again(
    X: Any,
    form: TableForm | None,
    name: str = "X",
    *,
    features: tuple[str, ...] | None = None,
    layer: str = "",
) -> Intake:
    """Return X as rows for a model that was trained on rows of this form.

    Columns are matched by their names, in any order; 2019 and " 2019" are one name. An array, or a
    frame whose columns are called 0, 1, 2 …, has no names and is matched by position.

    Args:
        X: the rows.
        form: that of the table the model was trained on; None if it was an array.
        name: what messages call X.
        features: the names of an array's columns, by which those of an AnnData object are found.
        layer: of an AnnData object, the layer to read instead of its X.

    Raises:
        LogvarError: X lacks a column, has another one, or a cell is not of its column's kind.
    """
    if is_annotated(X):
        return _of_cells(cells_of(X, layer, name).matched(features, name), name)
    if is_sparse(X) and form is None:
        return Intake(sparse_rows(X, name), None)
    if _is_numbers_as_objects(X):
        X = dense_rows(X, name)
    if form is None:
        rows = dense_rows(_array_of(X, name) if is_table(X) else X, name)
        return Intake(rows, None)
    if not is_table(X):
        X = _columns_of(dense_rows(X, name))
    table = as_table(X, name)
    unnamed = table.names == tuple(range(len(table.names)))
    if unnamed and set(table.names) != set(form.schema.names):
        table = _renamed(table, form.schema, name)
    else:
        table = _spelled_alike(table, form.schema)
    return Intake(_cells(table, form.schema, name), form, table)


def _of_cells(cells: Cells, name: str, sparse: bool = True) -> Intake:
    read = sparse_rows if sparse and is_sparse(cells.matrix) else dense_rows
    return Intake(read(cells.matrix, name), None, None, cells.names, cells.genes, cells.repeated)


def reads_sparse(likelihood: str) -> bool:
    """Return whether the likelihood of this name may be given a sparse matrix."""
    entry = KINDS["likelihood"].entries.get(likelihood)
    return entry is not None and bool(getattr(entry.build, "reads_sparse", False))


def likelihood_of(table: TableForm) -> tuple[str, str] | None:
    """Return the likelihood for a table's cells and why; None if they are plain real numbers."""
    columns = len(table.schema.modelled)
    return None if table.plain else (MIXED, f"a table; each of its {columns} columns by its kind")


def far_from_a_bell(rows: np.ndarray) -> np.ndarray:
    """Return the columns whose histogram does not look like a bell: skewed, heavy-tailed, or with
    many equal values. Of many rows, every so many are looked at."""
    rows = rows[:: max(1, len(rows) // _ENOUGH)]
    return np.array([j for j in range(rows.shape[1]) if _is_odd(rows[:, j])], int)


def _is_odd(values: np.ndarray) -> bool:
    values = values[~np.isnan(values)].astype(np.float64)
    if len(values) < 20:
        return False
    values = values / max(np.abs(values).max(), np.finfo(np.float64).tiny)  # squares stay finite
    spread = values.std()
    if spread == 0:
        return True
    z = (values - values.mean()) / spread
    odd = abs(np.mean(z**3)) > _SKEWNESS or np.mean(z**4) - 3 > _KURTOSIS
    repeated = np.unique(values, return_counts=True)[1].max() / len(values)
    return bool(odd or repeated > 0.2)


def _is_numbers_as_objects(X: Any) -> bool:
    """Return whether X is an array of objects without texts and dates: numbers, or a mistake."""
    if not isinstance(X, np.ndarray) or X.dtype != object or isinstance(X, np.ma.MaskedArray):
        return False
    return not any(isinstance(cell, str | bytes | datetime.date) for cell in X.flat)


def _is_mixed(rows: np.ndarray) -> bool:
    """Return whether an array of numbers needs a likelihood for each column."""
    if rows.dtype == np.uint8:
        return rows.max() > 1 and (rows.shape[1] < _PIXELS or rows.max() < 128)
    holes = has_missing(rows)
    with np.errstate(invalid="ignore"):
        whole = np.array([_is_whole(rows[:, j]) for j in range(rows.shape[1])])
    if whole.all() and np.isin(rows[~np.isnan(rows)], (0, 1)).all():
        return False  # bits, for the Bernoulli
    if rows.shape[1] >= _PIXELS and np.nanmin(rows) >= 0 and np.nanmax(rows) <= 1:
        return False  # intensities of flattened images, of which some pixels never vary
    return bool(whole.any() or (holes and len(far_from_a_bell(rows))))


def _is_whole(column: np.ndarray) -> bool:
    """Return whether a column holds integers alone, or one value."""
    values = column[~np.isnan(column)]
    if not len(values) or np.abs(values).max() >= _EXACT:
        return False
    return bool((values == np.round(values)).all() or np.ptp(values) == 0)


def _as_numbers(schema: Schema) -> Schema:
    """Return the schema with all columns of numbers as plain real numbers."""
    columns = [
        Column(c.name, "real", "a number", dtype=c.dtype, native=c.native, notation=c.notation)
        if c.is_modelled and _holds_numbers(c)
        else c
        for c in schema
    ]
    return dataclasses.replace(schema, columns=tuple(columns))


def _holds_numbers(column: Column) -> bool:
    if column.kind == "constant":
        return isinstance(column.value, int | float)
    if column.kind in NUMBERS:
        return column.kind != "date"
    return all(isinstance(level, int | float) for level in column.levels)


def _all_numbers(schema: Schema) -> bool:
    return all(column.kind == "real" for column in schema.modelled)


def _check_numbers(schema: Schema, likelihood: str) -> None:
    for column in schema.modelled:
        if column.kind != "real":
            raise LogvarError(
                f"likelihood {likelihood!r} reads numbers, and column {column.name!r} is "
                f"{column.kind} ({column.reason}): use likelihood='mixed', or drop that column"
            )


def _columns_of(rows: np.ndarray) -> Table:
    import pyarrow as pa

    columns = tuple(pa.chunked_array([pa.array(column, from_pandas=True)]) for column in rows.T)
    return Table(tuple(range(rows.shape[1])), columns, ARRAY)


def _array_of(X: Any, name: str) -> np.ndarray:
    """Return a table as the array that a model without a schema reads.

    Its columns are numbers whatever is in these rows: in one row, every column is constant.
    """
    table = as_table(X, name)
    columns = [Column(each, "real") for each in table.names if each not in table.row_labels]
    return _cells(table, Schema(tuple(columns)), name)


def _renamed(table: Table, schema: Schema, name: str) -> Table:
    if len(table.names) != len(schema):
        raise LogvarError(
            f"{name} has {len(table.names)} features, but VAE is expecting {len(schema)} features "
            f"as input ({', '.join(str(n) for n in schema.names[:5])} …): give the same columns"
        )
    return dataclasses.replace(table, names=schema.names)


def _spelled_alike(table: Table, schema: Schema) -> Table:
    """Return the table with names as the schema writes them: 2019 for "2019", "age" for " age"."""
    texts = [str(name).strip() for name in table.names]
    times, own = Counter(texts), {str(name).strip(): name for name in schema.names}
    names = tuple(
        name if name in schema.names or times[text] > 1 else own.get(text, name)
        for text, name in zip(texts, table.names, strict=True)
    )
    return table if names == table.names else dataclasses.replace(table, names=names)


def _cells(table: Table, schema: Schema, name: str) -> np.ndarray:
    from logvar.data.table.cells import cells_of  # imports pyarrow, which arrays do not need

    return cells_of(table, schema, name)
