"""Between a table's cells and the numbers that a model reads, fitted to the training cells."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from logvar.backend.streamed import StreamedRows, blocks
from logvar.data.table.holes import Holes
from logvar.data.table.number import NumberColumn
from logvar.data.table.schema import WITH_LEVELS, Column
from logvar.data.table.warp import FRONTS
from logvar.errors import LogvarError

LEVELS, ORDERED, CONSTANT, NUMBER = "levels", "ordered levels", "constant", "number"
NO_TAIL = 1e9
"""A normal score that no tail starts at."""
FIELDS = 6
"""Numbers for each cell that a likelihood reads."""
_KINDS = (LEVELS, CONSTANT, NUMBER, ORDERED)
"""Their numbers in saved runs are their places here. In older runs, ordered levels are `LEVELS`."""

Cells = Float[np.ndarray, "rows columns"]
Form = tuple[str, int, bool]
"""(kind, size, rounded): levels and their number, a constant, or a number and its atoms."""


@dataclasses.dataclass(frozen=True, eq=False)
class TableUnits:
    """Cells in the data's units ↔ what a model reads.

    Args:
        forms: the form of each column.
        counts: for each column, the training rows of each level, or of the constant, or of each
            atom and of the rest.
        numbers: the number columns, in order.
        holes: which cells of the training rows are missing together.
    """

    forms: tuple[Form, ...]
    counts: tuple[Float[np.ndarray, "..."], ...]
    numbers: tuple[NumberColumn, ...]
    holes: Holes
    dtype: ClassVar[type[np.floating]] = np.float64
    """The dtype of cells."""

    @classmethod
    def of_cells(
        cls,
        cells: "Cells | StreamedRows",
        columns: Sequence[Column],
        sample: Float[np.ndarray, "some columns"] | None = None,
    ) -> "TableUnits":
        """Fit to training cells.

        Args:
            cells: (rows, columns) numbers, codes of levels, and 0 for constants; NaN is missing.
            columns: the modelled columns of the schema, in the order of the cells.
            sample: some of these rows, to which numbers and patterns of holes are fitted; all of
                them if it is not given. The rows of each level are counted among all.

        Raises:
            LogvarError: a code is no level of its column.
        """
        if sample is None:
            assert isinstance(cells, np.ndarray)
            sample = cells
        found = _counted(cells, columns)
        forms: list[Form] = []
        counts: list[np.ndarray] = []
        numbers: list[NumberColumn] = []
        for j, column in enumerate(columns):
            if column.kind in WITH_LEVELS:
                several = len(column.levels) > 1  # one level has no cut point
                kind = ORDERED if column.kind == "ordinal" and several else LEVELS
                forms.append((kind, len(column.levels), False))
                counts.append(found[j])
            elif column.kind == "constant":
                forms.append((CONSTANT, 1, False))
                counts.append(found[j])
            else:
                values = sample[:, j]
                values = np.asarray(values[~np.isnan(values)], np.float64)
                number = NumberColumn.of_values(values, column.step, column.low, column.high)
                forms.append((NUMBER, len(number.atoms), bool(number.step)))
                counts.append(number.counts)
                numbers.append(number)
        return cls(tuple(forms), tuple(counts), tuple(numbers), Holes.of_cells(sample))

    @property
    def placeholder(self) -> Float[np.ndarray, "columns six"]:
        """The numbers that stand in for missing cells."""
        return self.to_model(np.full((1, len(self.forms)), np.nan))[0][0]

    def to_model(
        self, cells: Cells
    ) -> tuple[Float[np.ndarray, "rows columns six"], Bool[np.ndarray, "rows columns"]]:
        """Return (what the likelihood reads of each cell, in float32; which cells are observed).

        Missing cells hold the same valid numbers in every row: those of the first level, of the
        constant, or of the column's centre.

        Raises:
            LogvarError: a code is no level of its column.
        """
        observed = ~np.isnan(cells)
        values = np.zeros((*cells.shape, FIELDS), np.float32)
        numbers = iter(self.numbers)
        for j, (kind, size, _) in enumerate(self.forms):
            given = np.where(observed[:, j], cells[:, j], 0.0)
            if kind in (LEVELS, ORDERED):
                _check_codes(given, size, j)
                values[:, j, 0] = values[:, j, 5] = given
            elif kind == CONSTANT:
                values[:, j, 0] = values[:, j, 5] = given != 0
            else:
                number = next(numbers)
                centre = number.warp.inverse(np.zeros(1))[0]
                given = np.where(observed[:, j], cells[:, j], centre)
                values[:, j] = number.encoded(given)
        return values, observed

    def to_user(self, values: Float[np.ndarray, "rows columns"]) -> Cells:
        """Return cells in the data's units: codes, and numbers of their column's kind."""
        cells = np.array(values, np.float64)
        numbers = iter(self.numbers)
        for j, (kind, size, _) in enumerate(self.forms):
            if kind == NUMBER:
                cells[:, j] = next(numbers).to_user(values[:, j])
            else:
                cells[:, j] = np.clip(np.round(values[:, j]), 0, max(1, size - 1))
        return cells

    def cells_of_expectation(
        self, expectation: Float[np.ndarray, "rows expected"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Return cells in model units from (averages of) a likelihood's `expectation`: the mean of
        a number, the most probable level."""
        cells = np.zeros((len(expectation), len(self.forms)), expectation.dtype)
        start = 0
        for j, (kind, size, _) in enumerate(self.forms):
            if kind in (LEVELS, ORDERED):
                cells[:, j] = np.argmax(expectation[:, start : start + size], axis=1)
                start += size
            elif kind == NUMBER:
                cells[:, j] = expectation[:, start]
                start += 1
        return cells

    def warps(self) -> dict[str, np.ndarray]:
        """Return the maps back from normal scores to model units, one row for each number column:
        the arrays of `logvar.likelihoods.warps.Warps`."""
        knots = max((len(number.warp.spline.y) for number in self.numbers), default=0)
        rows: dict[str, list[Any]] = {}
        for number in self.numbers:
            front, spline = number.warp.front, number.warp.spline.padded(knots)
            step = number.step / front.spread
            low, high = number.to_model(np.array([number.low, number.high]))
            entries: dict[str, Any] = {
                "y": spline.y,
                "s": spline.s,
                "slope": spline.slope,
                "front": FRONTS.index(front.kind),
                "margin": front.margin,
                "step": step,
                "phase": np.mod(front.centre / front.spread, step) if step else 0.0,
                "low": low,
                "high": high,
                "ends": number.warp.spline.s[[0, -1]],
                "reach": np.ones(2),
                "tail_s": np.array([-NO_TAIL, NO_TAIL]),
                "tail_slope": np.ones(2),
            }
            for tail in number.warp.tails:
                i = max(0, tail.side)
                entries["reach"][i] = tail.reach
                entries["tail_s"][i], entries["tail_slope"][i] = tail.s, tail.slope
            for name, value in entries.items():
                rows.setdefault(name, []).append(value)
        return {name: np.array(values) for name, values in rows.items()}

    def atoms(self) -> list[np.ndarray]:
        """Return the atoms of each number column in model units."""
        return [number.to_model(number.atoms) for number in self.numbers]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, for saving."""
        kinds = [(_KINDS.index(kind), size, int(rounded)) for kind, size, rounded in self.forms]
        knots = max((len(number.warp.spline.y) for number in self.numbers), default=0)
        splines = np.full((len(self.numbers), 3, knots), np.nan)
        for row, number in zip(splines, self.numbers, strict=True):
            spline = number.warp.spline
            row[:, : len(spline.y)] = spline.y, spline.s, spline.slope
        return {
            "forms": np.array(kinds, np.int64).reshape(len(kinds), 3),
            "counts": np.concatenate([*self.counts, np.zeros(0)]),
            "parameters": np.array([n.parameters() for n in self.numbers]).reshape(-1, 7),
            "knots": splines,
            "atoms": np.concatenate([*(n.atoms for n in self.numbers), np.zeros(0)]),
            "holes": self.holes.patterns.astype(float),
            "shares": self.holes.shares,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "TableUnits":
        """Return the units that `arrays` describes."""
        forms = tuple(
            (_KINDS[int(kind)], int(size), bool(rounded)) for kind, size, rounded in arrays["forms"]
        )
        numbers: list[NumberColumn] = []
        counts: list[np.ndarray] = []
        start = atoms = 0
        for kind, size, _ in forms:
            length = size + 1 if kind == NUMBER else size
            counts.append(arrays["counts"][start : start + length])
            start += length
            if kind == NUMBER:
                number = len(numbers)
                knots = arrays["knots"][number]
                numbers.append(
                    NumberColumn.from_parameters(
                        arrays["parameters"][number],
                        knots[:, ~np.isnan(knots[0])],
                        arrays["atoms"][atoms : atoms + size],
                        counts[-1],
                    )
                )
                atoms += size
        holes = Holes(arrays["holes"] != 0, arrays["shares"])
        return cls(forms, tuple(counts), tuple(numbers), holes)


def _counted(cells: "Cells | StreamedRows", columns: Sequence[Column]) -> dict[int, np.ndarray]:
    """Return, for columns of levels and constants, how many rows have each."""
    sizes = {
        j: len(column.levels) if column.kind in WITH_LEVELS else 1
        for j, column in enumerate(columns)
        if column.kind in (*WITH_LEVELS, "constant")
    }
    counts = {j: np.zeros(size) for j, size in sizes.items()}
    for _, block in blocks(cells) if sizes else ():
        for j, size in sizes.items():
            values = np.asarray(block[:, j][~np.isnan(block[:, j])], np.float64)
            if columns[j].kind == "constant":
                values = values[values == 0]
            _check_codes(values, size, columns[j].name)
            counts[j] += np.bincount(values.astype(int), minlength=size)
    return counts


def _check_codes(codes: np.ndarray, levels: int, column: Any) -> None:
    off = (codes != np.round(codes)) | (codes < 0) | (codes > levels - 1)
    if off.any():
        row = int(np.argmax(off))
        raise LogvarError(
            f"cells have {codes[row]:g} in column {column!r}: expected a code from 0 to "
            f"{levels - 1}; find the codes with the table's schema"
        )
