"""Whether X is modelled as a table, column by column, or as an array of numbers.

An array of real numbers without names keeps one likelihood for all of its columns, and so does a
frame of them, as long as their histograms look like bells. Whatever else a table holds (texts,
dates, integers, constants, holes in skewed columns) is modelled by `mixed`.
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from logvar.assembly.looks import far_from_a_bell, is_mixed
from logvar.assembly.parts import KINDS, is_auto
from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows
from logvar.data.annotated import Cells, cells_of, is_annotated
from logvar.data.intake import dense_rows
from logvar.data.sparse import is_sparse, sparse_rows
from logvar.data.streamed import is_streamed, streamed_rows
from logvar.data.streams.cells import backed_rows, is_backed
from logvar.data.table.form import TableForm
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.large import (
    ARRAY,
    InMemory,
    LargeTable,
    OfNumbers,
    cells_of_large,
    is_large,
    large_table,
    sampled_table,
)
from logvar.data.table.naming import named_alike, named_by_place
from logvar.data.table.schema import NUMBERS, Column, Schema, as_conditions, schema_given
from logvar.data.table.units import FIELDS
from logvar.data.windows import ALL, bytes_per_row, window_for, window_of
from logvar.errors import BadCell, LogvarError

MIXED = "mixed"


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

    @property
    def lines(self) -> list[str]:
        """What the user is told of what was found in X."""
        said = []
        if self.repeated:
            said.append(
                f"names of columns that repeat and have got a number, NAME-1, …: {self.repeated:,}"
            )
        return said if self.form is None else [*said, *str(self.form.schema).splitlines()]

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
    window: int | str = ALL,
    seed: int = 0,
) -> Intake:
    """Return X as rows for a model that is to be trained.

    Args:
        X: an array or a table.
        likelihood: the text of the recipe.
        schema: what the user says of the columns: None, a dict, a path or a `Schema`.
        name: what messages call X.
        layer: of an AnnData object, the layer to read instead of its X.
        conditions: names of columns that are a condition.
        window: rows shuffled at a time, as the recipe says it. If these are not all, kinds of
            columns are found from a sample, and rows that are not in memory stay where they are.
        seed: of that sample.

    Raises:
        LogvarError: X cannot be read, or the likelihood cannot read its columns.
    """
    named = likelihood.split("(")[0].strip()
    if schema is not None and (is_annotated(X) or is_sparse(X)):
        raise LogvarError(
            f"schema was given, and {name} is no table ({type(X).__name__}): leave it out; columns "
            "of obs are told as condition=['batch'], and labels given as y"
        )
    if is_annotated(X):
        if is_backed(X) and not layer:
            backed = backed_rows(X)
            if not window_of(window, backed).is_all_of(len(backed)):
                cells = cells_of(X, layer, name, in_file=True)
                return Intake(backed, None, None, cells.names, cells.genes, cells.repeated)
        return _of_cells(cells_of(X, layer, name), name, reads_sparse(named))
    if is_sparse(X) and reads_sparse(named):
        return Intake(sparse_rows(X, name), None)
    mixed, auto = named == MIXED, is_auto(likelihood)
    if _is_numbers_as_objects(X):
        X = dense_rows(X, name)
    if is_large(X):
        source = large_table(X, name)
        X = source.whole() if _is_all(window, source) else source
    elif not is_table(X):
        rows = _opened(X, name, window) if is_streamed(X) else dense_rows(X, name)
        if rows.ndim != 2 or not (mixed or schema is not None or (auto and is_mixed(rows))):
            if isinstance(rows, StreamedRows) and window_of(window, rows).is_all_of(len(rows)):
                rows = rows.in_memory()
            return Intake(rows, None)
        X = OfNumbers(rows) if isinstance(rows, StreamedRows) else _columns_of(rows)
    if not isinstance(X, LargeTable):
        X = as_table(X, name)
        if not _is_all(window, X):
            X = InMemory(X, name)
    if isinstance(X, LargeTable):
        found = _from_large(X, schema, conditions, likelihood, name, window, seed)
        if found is not None:
            return found
        X = X.whole()  # few columns are modelled, so that all rows are shuffled at once
    table = X
    return _modelled(
        schema_given(schema, table), schema is not None, conditions, likelihood, name,
        lambda found: _cells(table, found, name), table.container, table,
    )  # fmt: skip


def _opened(X: Any, name: str, window: int | str) -> np.ndarray | StreamedRows:
    """Return streamed rows, in memory if all are shuffled at once whatever is found in them."""
    rows = streamed_rows(X, name)
    return rows.in_memory() if window_of(window, rows, FIELDS).is_all_of(len(rows)) else rows


def _is_all(window: int | str, table: Any) -> bool:
    """Return whether all rows are shuffled at once where all columns are modelled."""
    n, cells = len(table), len(table.names)
    return window_for(window, n, 4 * FIELDS * cells).is_all_of(n)


def _from_large(
    table: LargeTable,
    schema: Any,
    conditions: Sequence[Any],
    likelihood: str,
    name: str,
    window: int | str,
    seed: int,
) -> Intake | None:
    """Return a large table's rows; None if those columns that are modelled are not large."""
    sample = sampled_table(table, seed)
    found = schema_given(schema, sample)
    carried = [c.name for c in as_conditions(found, conditions) if c.kind == "condition"]
    given = _modelled(
        found, schema is not None, conditions, likelihood, name,
        lambda kept: cells_of_large(table, kept, name), table.container,
        table.columns(carried) if carried else None,
    )  # fmt: skip
    n, form = len(table), given.form
    size = bytes_per_row(given.rows, numbers_per_cell(form))
    return None if window_for(window, n, size).is_all_of(n) else given


def _modelled(
    schema: Schema,
    is_given: bool,
    conditions: Sequence[Any],
    likelihood: str,
    name: str,
    cells_by: Callable[[Schema], Rows],
    container: str,
    table: Table | None,
) -> Intake:
    """Return the cells of a table for a likelihood.

    Args:
        schema: of the table.
        is_given: whether the user has given one.
        conditions: names of columns that are a condition.
        likelihood: the text of the recipe.
        name: what messages call the table.
        cells_by: returns the cells by a schema.
        container: what the table came as.
        table: the table, as far as it is in memory.
    """
    mixed, auto = likelihood.split("(")[0].strip() == MIXED, is_auto(likelihood)
    found = as_conditions(schema, conditions)
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
            cells = cells_by(numbers)
            assert not isinstance(cells, SparseRows)
            if not is_given and not is_mixed(cells) and not len(far_from_a_bell(cells)):
                return Intake(cells, TableForm(numbers, container, plain=True), table)
    return Intake(cells_by(found), TableForm(found, container), table)


def numbers_per_cell(form: TableForm | None) -> int:
    """Return how many numbers a model reads for each cell of rows of a form."""
    return 1 if form is None or form.plain else FIELDS


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
        if is_backed(X) and not layer:
            cells = cells_of(X, layer, name, in_file=True)
            genes = None if features in (None, cells.genes) else cells.places(features, name)
            return Intake(backed_rows(X, genes), None, None, cells.names, features)
        return _of_cells(cells_of(X, layer, name).matched(features, name), name)
    if is_sparse(X) and form is None:
        return Intake(sparse_rows(X, name), None)
    if _is_numbers_as_objects(X):
        X = dense_rows(X, name)
    if is_streamed(X):
        streamed = streamed_rows(X, name)
        if form is None:
            return Intake(streamed, None)
        X = OfNumbers(streamed)
    if isinstance(X, LargeTable) or (isinstance(X, list) and is_large(X)):
        X = large_table(X, name)
        if form is not None:
            if isinstance(X, OfNumbers):
                X = X.called(form.schema.names, name)
            return Intake(cells_of_large(X, form.schema, name), form)
        X = X.whole()
    if form is None:
        rows = dense_rows(_array_of(X, name) if is_table(X) else X, name)
        return Intake(rows, None)
    if not is_table(X):
        X = _columns_of(dense_rows(X, name))
    table = as_table(X, name)
    unnamed = table.names == tuple(range(len(table.names)))
    if unnamed and set(table.names) != set(form.schema.names):
        table = named_by_place(table, form.schema, name)
    else:
        table = named_alike(table, form.schema)
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


def _is_numbers_as_objects(X: Any) -> bool:
    """Return whether X is an array of objects without texts and dates: numbers, or a mistake."""
    if not isinstance(X, np.ndarray) or X.dtype != object or isinstance(X, np.ma.MaskedArray):
        return False
    return not any(isinstance(cell, str | bytes | datetime.date) for cell in X.flat)


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


def _cells(table: Table, schema: Schema, name: str) -> np.ndarray:
    from logvar.data.table.cells import cells_of  # imports pyarrow, which arrays do not need

    return cells_of(table, schema, name)
