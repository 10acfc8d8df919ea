"""Rows as a fitted model reads them, including rows outside the training range."""

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import UInt32

from logvar.backend.sparse import InMemory, Rows, SparseRows, array_of, as_arrays
from logvar.backend.streamed import StreamedRows, Where
from logvar.data.standardization import Standardization
from logvar.data.table.units import FIELDS, TableUnits
from logvar.models.batch import Batch
from logvar.randomness import row_words

_ROWS_AT_ONCE = 4096
_CELLS_AT_ONCE = 2**24
"""Of sparse rows, which are dense while they are hashed."""
Units = Standardization | TableUnits
"""How rows in the data's own units become numbers of the order of 1, and back."""


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Rows for compiled programs.

    An encoder's output is arbitrary far from the rows it was trained on. Such a row is encoded from
    a copy clipped to the training range, while its likelihood is computed for the row itself.
    Any q(z | x) gives a lower bound on log p(x), so this one does, too; z then stays in the usual
    range, and log p(x | z) falls with the distance of x. The copy also keys the noise, so that
    rows on a ray outwards differ in x alone.
    """

    values: Rows
    """(rows, *shape), uint8 or float32: the encoder's input; NaN in missing cells."""
    given: Rows | None
    """The rows in the data's own units, whose bytes key their noise; None if there is no noise."""
    units: Units | None = None
    outside: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    """Indices of the rows outside the training range."""
    actual: np.ndarray | None = None
    """(outside, *shape), float64: those rows, not clipped."""
    weight: np.ndarray | None = None
    """(rows,) float32: how much each row counts in training; None if all count the same."""
    condition: np.ndarray | None = None
    """(rows, size) float32: what a conditional model is told of each row."""
    label: np.ndarray | None = None
    """(rows,) int32: the class of each row, −1 where it is unknown."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def stored(self) -> Batch:
        """The rows as compiled programs take them, without their weights and labels."""
        return Batch(self.values, condition=self.condition)

    @property
    def training(self) -> Batch:
        """The rows as training takes them, with their labels and weights."""
        return dataclasses.replace(self.stored, label=self.label, weight=self.weight)

    def cut(self, rows: np.ndarray) -> Batch:
        """Return some of the rows as training takes them."""
        return as_arrays(self.training[rows])

    def batch(self, values: InMemory, rows: np.ndarray) -> Batch:
        """Return some rows whose values have been read, with what stays in memory of them."""
        others = (self.condition, self.label, self.weight)
        return Batch(values, None, *(None if x is None else x[rows] for x in others))

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, *shape)."""
        return self.values.shape

    @cached_property
    def words(self) -> UInt32[np.ndarray, "rows 2"]:
        """The key of each row's noise: a function of the row alone, and the same in any dtype that
        holds its values."""
        if self.given is None:
            raise ValueError("these examples were made without the rows that key their noise")
        step = _ROWS_AT_ONCE
        if isinstance(self.given, SparseRows):
            step = min(step, max(1, _CELLS_AT_ONCE // self.given.features))
        spans = (slice(i, i + step) for i in range(0, len(self), step))
        words = np.concatenate([row_words(self._keyed_by(self.given[span])) for span in spans])
        if len(self.outside) and self.units is not None:
            cut = self.units.to_user(array_of(self.values)[self.outside])
            words[self.outside] = row_words(self._keyed_by(cut))
        if self.condition is not None:
            words = row_words(np.column_stack([words, (self.condition + 0).view(np.uint32)]))
        return words

    def as_they_are(self, which: np.ndarray) -> np.ndarray:
        """Return some rows in float64, not clipped to the training range."""
        rows = self.values[which]
        found = rows.astype(np.float64)
        rows = found.dense() if isinstance(found, SparseRows) else found
        if self.actual is not None:
            there = np.isin(which, self.outside)
            rows[there] = self.actual[np.searchsorted(self.outside, which[there])]
        return rows

    def _keyed_by(self, rows: InMemory) -> np.ndarray:
        rows = rows.dense() if isinstance(rows, SparseRows) else rows
        if rows.dtype == np.uint8:
            return rows
        dtype = np.float32 if self.units is None else self.units.dtype
        with np.errstate(over="ignore"):
            wide = rows.astype(dtype) + dtype(0)  # −0 is 0
        # There are many NaN, and a missing cell must have one sequence of bytes.
        return np.where(np.isnan(wide), dtype(np.nan), wide)


def in_units(rows: np.ndarray | StreamedRows, units: Units, *, keyed: bool = True) -> Examples:
    """Make examples from rows in the data's own units, for a model that reads them in others.

    Args:
        rows: (rows, *shape), of any real dtype.
        units: those of the model.
        keyed: whether the rows will key noise; if so, they are kept.
    """
    if isinstance(rows, StreamedRows):
        shape = rows.shape[1:] + ((FIELDS,) if isinstance(units, TableUnits) else ())
        values = rows.converted(_InUnits(units), np.float32, shape)
        return Examples(values, rows if keyed else None, units)
    if isinstance(units, TableUnits):
        cells, observed = units.to_model(rows)
        cells[~observed] = np.nan
        return Examples(cells, rows if keyed else None, units)
    seen, outside, actual = units.to_model(rows)
    return Examples(seen, rows if keyed else None, units, outside, actual)


@dataclasses.dataclass(frozen=True, eq=False)
class _InUnits:
    """Converts some training rows, none of which is outside the range that they themselves span."""

    units: Units

    def __call__(self, rows: np.ndarray, where: Where) -> np.ndarray:
        if isinstance(self.units, Standardization):
            return self.units.seen(rows)
        found = in_units(rows, self.units, keyed=False).values
        assert isinstance(found, np.ndarray)
        return found


def examples_of(rows: "Rows | Examples") -> Examples:
    """Return examples unchanged; wrap an array for a model without standardization."""
    return rows if isinstance(rows, Examples) else Examples(rows, rows)
