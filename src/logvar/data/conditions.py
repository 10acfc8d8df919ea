"""Conditions: what a model is told of each row, as people have it, and as the model reads it.

A column of texts, or of at most 20 different integers, is one of levels: 0 and 1 for each. Any
other is of numbers, which are standardized. The model reads all of them as one float32 vector.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from logvar.data.standardization import Standardization
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.schema import WITH_LEVELS, Column, Level, Name, Schema
from logvar.errors import LogvarError, unknown_name

_LEVELS = 20
"""A column with at most this many different integers is one of levels."""
_KEPT = 1000
"""Rows of conditions that are kept, to draw from where none is given."""

Matrix = Float[np.ndarray, "rows size"]


@dataclasses.dataclass(frozen=True, eq=False)
class Conditions:
    """The columns of a condition, fitted to the training rows.

    Args:
        schema: their kinds, with their levels.
        centre: (columns,), the mean of each column of numbers; 0 for one of levels.
        spread: (columns,), its standard deviation; 1 if it is constant.
        inside: whether they are columns of X itself.
        usual: (kept, size), conditions of training rows, at most 1,000 of them.

    Example:
        >>> found = Conditions.of({"batch": ["a", "b", "a"], "dose": [0.0, 1.0, 2.0]})
        >>> found.matrix({"batch": ["b"], "dose": [1.0]}).tolist()
        [[0.0, 1.0, 0.0]]
        >>> print(found)
        batch (a, b), dose (number)
    """

    schema: Schema
    centre: Float[np.ndarray, "columns"]
    spread: Float[np.ndarray, "columns"]
    inside: bool = False
    usual: Float[np.ndarray, "kept size"] | None = None

    @classmethod
    def of(cls, given: Any, rows: int | None = None, *, inside: bool = False) -> "Conditions":
        """Find the kinds of a condition's columns in the training rows.

        Args:
            given: a table, a dict of columns, or an array (rows,) or (rows, columns).
            rows: how many there must be.
            inside: whether they are columns of X itself.

        Raises:
            LogvarError: a cell is missing, or the number of rows is another.
        """
        table = table_of(given, rows)
        schema = _schema(table)
        plain = cls(schema, np.zeros(len(schema)), np.ones(len(schema)), inside)
        cells = plain._cells(table)
        numbers = np.array([not column.levels for column in schema])
        # Knows constants from rounding noise, and numbers whose squares leave float64.
        units = Standardization.of_rows(cells)
        fitted = dataclasses.replace(
            plain,
            centre=np.where(numbers, units.shift, 0.0),
            spread=np.where(numbers, units.factor, 1.0),
        )
        return dataclasses.replace(fitted, usual=fitted._coded(_thinned(cells)))

    def __str__(self) -> str:
        return ", ".join(f"{column.name} ({_said(column)})" for column in self.schema)

    @property
    def names(self) -> tuple[Name, ...]:
        """The names of the columns."""
        return self.schema.names

    @property
    def sizes(self) -> list[int]:
        """The number of values of each column: one for a number, one for each level."""
        return [max(1, len(column.levels)) for column in self.schema]

    @property
    def size(self) -> int:
        """The number of values that the model reads."""
        return sum(self.sizes)

    def matrix(self, given: Any, rows: int | None = None) -> Matrix:
        """Return a condition as the model reads it.

        Args:
            given: a table, a dict, or an array with the columns that were fitted; a dict of single
                values is one condition for all rows.
            rows: how many there must be; one row stands for all of them.

        Raises:
            LogvarError: a column is not there, a cell is missing, a level was never seen, or the
                number of rows is another.
        """
        return self._coded(self._cells(self.table(given, rows)))

    def table(self, given: Any, rows: int | None = None) -> Table:
        """Return a condition as a table of so many rows, in the order of the fitted columns."""
        if isinstance(given, Mapping):
            given = {k: v if _is_many(v) else [v] for k, v in given.items()}
        elif not is_table(given) and np.ndim(given) < 2:
            given = np.reshape(_array(given), (-1, 1))
        table = table_of(given, None)
        unnamed, columns = table.names == tuple(range(len(table.names))), len(self.schema)
        if unnamed and len(table.names) > columns:
            raise LogvarError(
                f"condition has {len(table.names)} columns without names, and the model was told "
                f"{self}: expected {columns}; give {'it' if columns == 1 else 'those'} alone"
            )
        if unnamed and len(table.names) == columns:
            table = dataclasses.replace(table, names=self.names)
        absent = [name for name in self.names if name not in table.names]
        if absent:
            raise LogvarError(
                f"condition lacks {', '.join(map(repr, absent))}: the model was told {self}; give "
                "all of them"
            )
        own = tuple(table[name] for name in self.names)
        table = dataclasses.replace(table, names=self.names, columns=own, natives=())
        if rows is not None and len(table) == 1 != rows:
            from logvar.data.table.rows import rows_of

            return rows_of(dataclasses.replace(table, index=None), np.zeros(rows, np.int64))
        _check_rows(table, rows)
        return table

    def read(self, texts: Mapping[str, str]) -> dict[Name, Any]:
        """Return values that were written as texts, as on the command line.

        Raises:
            LogvarError: a column is not one of these, or a text is no number where one is expected.

        Example:
            >>> Conditions.of({"batch": [1, 2], "dose": [0.5, 1.5]}).read(
            ...     {"batch": "2", "dose": "1e-1"})
            {'batch': 2, 'dose': 0.1}
        """
        columns = {str(column.name).strip(): column for column in self.schema}
        values: dict[Name, Any] = {}
        for name, text in texts.items():
            if name.strip() not in columns:
                raise unknown_name("column of the condition", name, columns)
            column = columns[name.strip()]
            if column.levels:
                by_text = {str(level): level for level in column.levels}
                # An unseen one is refused with the others.
                values[column.name] = by_text.get(text, text)
                continue
            if column.unit:
                values[column.name] = text  # a date is read as in a table of texts
                continue
            try:
                values[column.name] = float(text)
            except ValueError as error:
                raise LogvarError(
                    f"condition {name}={text}: expected a number, as in {name}=1.5"
                ) from error
        return values

    def with_levels_of(self, given: Any) -> "Conditions | None":
        """Return these conditions with the levels that rows have and the fitted ones did not.

        None if there is no such level. New levels come after the old ones of their column.

        Raises:
            LogvarError: fractions stand where there were texts; each would be a level.
        """
        from logvar.data.table.levels import key_of, levels_of

        table = self.table(given)
        columns = []
        for column, values in zip(self.schema, table.columns, strict=True):
            if column.levels:
                known = {key_of(level) for level in column.levels}
                new = [level for level in levels_of(values) if key_of(level) not in known]
                texts = all(isinstance(level, str) for level in column.levels)
                fractions = [level for level in new if _is_fraction(level)]
                if texts and fractions:
                    raise LogvarError(
                        f"condition: column {column.name!r} has the number {fractions[0]:g}, and "
                        f"the model was told {self}: expected levels, texts or integers; give the "
                        "column that has them"
                    )
                column = dataclasses.replace(column, levels=(*column.levels, *new))
            columns.append(column)
        if tuple(columns) == self.schema.columns:
            return None
        wider = dataclasses.replace(self, schema=Schema(tuple(columns)))
        return dataclasses.replace(wider, usual=wider._coded(_thinned(wider._cells(table))))

    def sources_in(self, wider: "Conditions") -> list[tuple[int, ...]]:
        """For each value of wider conditions, the values of these that its weights start from."""
        sources: list[tuple[int, ...]] = []
        start = 0
        for ours, theirs in zip(self.sizes, wider.sizes, strict=True):
            own = range(start, start + ours)
            sources += [(i,) for i in own] + [tuple(own)] * (theirs - ours)
            start += ours
        return sources

    def as_toml(self) -> str:
        """Return the text of a run's condition.toml."""
        import tomli_w

        kept = self.usual if self.usual is not None else np.zeros((0, self.size))
        head = {
            "inside": self.inside,
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
            "usual": [[float(value) for value in row] for row in kept],
        }
        return f"{tomli_w.dumps(head)}\n{self.schema.as_toml()}"

    @staticmethod
    def from_toml(text: str) -> "Conditions":
        """Read what `as_toml` writes.

        Raises:
            LogvarError: the text is not valid.
        """
        schema = Schema.from_toml(text)
        head = tomllib.loads(text)
        try:
            found = Conditions(
                schema,
                np.asarray(head["centre"], np.float64).reshape(len(schema)),
                np.asarray(head["spread"], np.float64).reshape(len(schema)),
                bool(head["inside"]),
            )
            usual = np.asarray(head["usual"], np.float32).reshape(-1, found.size)
        except (KeyError, ValueError, TypeError) as error:
            raise LogvarError(f"the condition is not what logvar wrote ({error})") from error
        return dataclasses.replace(found, usual=usual)

    def _cells(self, table: Table) -> np.ndarray:
        from logvar.data.table.cells import cells_of

        try:
            cells = cells_of(table, self.schema, "condition")
        except LogvarError as error:
            found, _, remedy = str(error).partition("; correct it")
            if "which the model never saw" in found:
                remedy = ", or train the new level alone, from this run: from_run=…, --from RUN"
            raise LogvarError(found + ("; correct it" + remedy if remedy else "")) from error
        missing = np.argwhere(np.isnan(cells))
        if len(missing):
            row, column = missing[0].tolist()
            raise LogvarError(
                f"condition has no value in row {row}, column {self.names[column]!r}: each row "
                "needs one; drop such rows, or give a missing value a level of its own"
            )
        return cells

    def _coded(self, cells: np.ndarray) -> Matrix:
        parts = []
        for j, column in enumerate(self.schema):
            if column.levels:
                levels = np.zeros((len(cells), len(column.levels)), np.float32)
                levels[np.arange(len(cells)), cells[:, j].astype(np.int64)] = 1
                parts.append(levels)
            else:
                parts.append((cells[:, j : j + 1] - self.centre[j]) / self.spread[j])
                beyond = np.flatnonzero(np.abs(parts[-1]) > np.finfo(np.float32).max)
                if len(beyond):
                    raise LogvarError(
                        f"condition: column {column.name!r} is {cells[beyond[0], j]:g} at row "
                        f"{beyond[0]}, which float32 cannot hold in units of the training rows' "
                        f"spread, {self.spread[j]:g}: expected a number of their size; correct it"
                    )
        return np.concatenate(parts, axis=1).astype(np.float32)


def _is_fraction(level: Level) -> bool:
    return isinstance(level, float) and not level.is_integer()


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """The conditions of the rows of one fit, in the order of the rows.

    Args:
        form: what they are.
        rows: (rows, size), of the training rows; before `at`, of all rows of X.
        held_out: (held out, size); None if no row is held out, or not yet.
    """

    form: Conditions
    rows: Matrix
    held_out: Float[np.ndarray, "held_out size"] | None = None

    def at(self, trained: np.ndarray, held_out: np.ndarray) -> "Told":
        """Return the conditions of the rows to train on and to hold out; given ones stay."""
        own = self.held_out is None and len(held_out)
        others = self.rows[held_out] if own else self.held_out
        return dataclasses.replace(self, rows=self.rows[trained], held_out=others)


def names_of(condition: Any) -> tuple[Name, ...]:
    """Return the names of columns of X, if the condition is given by names; empty otherwise."""
    if isinstance(condition, str):
        return (condition,)
    if isinstance(condition, list | tuple) and condition:
        return tuple(condition) if all(isinstance(name, str) for name in condition) else ()
    return ()


def table_of(given: Any, rows: int | None) -> Table:
    """Return a condition as a table of so many rows, whose columns have numbers if no names.

    Raises:
        LogvarError: it has other axes, or the number of rows is another.
    """
    if not is_table(given):
        array = _array(given)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2:
            raise LogvarError(
                f"condition has shape {array.shape}: expected (rows,) or (rows, columns)"
            )
        given = {j: array[:, j] for j in range(array.shape[1])}
    table = as_table(given, "condition")
    _check_rows(table, rows)
    return table


def _array(given: Any) -> np.ndarray:
    """Return an array, with its mask if it has one."""
    return given if isinstance(given, np.ma.MaskedArray) else np.asarray(given)


def _check_rows(table: Table, rows: int | None) -> None:
    if rows is not None and len(table) != rows:
        raise LogvarError(f"condition has {len(table):,} rows: expected {rows:,}, one for each row")


def _schema(table: Table) -> Schema:
    """Return the kinds of a condition's columns: levels or numbers."""
    from logvar.data.table.kinds import found

    kinds = {name: _kind(column) for name, column in zip(table.names, table.columns, strict=True)}
    return found(dataclasses.replace(table, row_labels=()), kinds)


def _kind(column: Any) -> str:
    from logvar.data.table.arrow import family

    kind = family(column.type)
    if kind == "date":
        return "date"
    numbers = ("float", "decimal", "time", "duration")
    if (kind == "integer" and len(column.unique()) > _LEVELS) or kind in numbers:
        return "real"
    return "categorical"


def _said(column: Column) -> str:
    if column.kind not in WITH_LEVELS:
        return "date" if column.kind == "date" else "number"
    some: Sequence[Level] = column.levels[:10]
    return ", ".join(map(str, some)) + (", …" if len(column.levels) > 10 else "")


def _thinned(cells: np.ndarray) -> np.ndarray:
    """Return as many rows as are kept, from the first to the last."""
    return cells[:: max(1, -(-len(cells) // _KEPT))]


def _is_many(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__")
