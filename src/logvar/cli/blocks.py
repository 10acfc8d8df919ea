"""The rows of a command in blocks, so that neither they nor its results are in memory as a whole.

The results are those of one call on all rows, to the byte: noise is keyed by row, programs compute
128 rows at a time whatever the block, and a missing cell anywhere makes all rows be read as rows
that may have some.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from logvar.assembly.tables import Intake
from logvar.backend.streamed import StreamedRows
from logvar.cli.inputs import Given, given_for
from logvar.data.annotated import is_annotated
from logvar.data.preparation import has_missing
from logvar.data.table.frame import Table
from logvar.data.table.large import LargeTable
from logvar.data.table.rows import beside, columns_of_kinds, rows_between
from logvar.errors import LogvarError, OutsideTrainingRange
from logvar.fitted import Fitted

BYTES = 1 << 26
"""Of the rows of a block and their results, in float64."""
_EACH = 64
"""Bytes that a row takes beside its cells: its key, its score, its place."""
_MANY, _FEW, _LEAST = 4096, 128, 256
"""Rows that one program computes, or the other; and those of a block, for one part per core."""
_WHOLE = 1 << 28
"""Rows of at most so many bytes are all looked at when one of them cannot be read."""

Result = TypeVar("Result")


class Block(NamedTuple):
    """Consecutive rows."""

    taken: Intake
    start: int
    stop: int
    given: Given
    """All rows."""

    @property
    def identifiers(self) -> Table | None:
        """The columns that name the rows, or the files that the rows are from."""
        return self._beside(self.given.identifiers, ("identifier",))

    @property
    def carried(self) -> Table | None:
        """These and the rows' labels."""
        return self._beside(self.given.carried, ("identifier", "label"))

    def _beside(self, own: Table | None, kinds: tuple[str, ...]) -> Table | None:
        if own is not None:
            own = rows_between(own, self.start, self.stop)
        elif self.taken.table is not None and self.taken.form is not None:
            own = columns_of_kinds(self.taken.table, self.taken.form.schema, kinds)
        if not self.given.files:
            return own
        return beside(own, {"file": list(self.given.files[self.start : self.stop])})


class _LateHole(Exception):
    """A missing cell in a later block: those before it were read as rows that have none."""


def over_blocks(
    given: Given, fitted: Fitted, write: Callable[[Iterator[Block]], Result], cells: int = 0
) -> Result:
    """Call a function with all rows in blocks; warnings of single rows are summed up in one.

    Args:
        given: the rows.
        fitted: the model that is to read them.
        write: what to do with them. It is called again from the first block if a later one is the
            first with a missing cell, so it must drop what it has written when it is left.
        cells: the numbers that a row's results have, roughly.

    Raises:
        LogvarError: rows cannot be read.
    """
    try:
        return _once(given, fitted, write, cells, holes=False)
    except _LateHole:
        return _once(given, fitted, write, cells, holes=True)


def _once(
    given: Given,
    fitted: Fitted,
    write: Callable[[Iterator[Block]], Result],
    cells: int,
    *,
    holes: bool,
) -> Result:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutsideTrainingRange)
        found = write(_blocks(given, fitted, cells, holes))
    outside = []
    for each in caught:
        if isinstance(each.message, OutsideTrainingRange):
            outside.append(each.message)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    together = OutsideTrainingRange.together(outside, len(given))
    if together is not None:
        warnings.warn(together, stacklevel=3)
    return found


def _blocks(given: Given, fitted: Fitted, cells: int, holes: bool) -> Iterator[Block]:
    holes = holes or fitted.preparation.missing
    each = 8 * (int(np.prod(fitted.shape)) + cells) + _EACH
    for start, stop in spans(len(given), rows_at_once(each)):
        taken = _taken(given, fitted, start, stop)
        if not holes and has_missing(taken.rows):
            if start:
                raise _LateHole
            holes = True
        yield Block(taken._replace(first=start, holes=holes), start, stop, given)


def rows_at_once(bytes_per_row: int) -> int:
    """Return how many rows a block has: a multiple of those that one program computes.

    Example:
        >>> rows_at_once(100), rows_at_once(100_000), rows_at_once(10**9)
        (667648, 640, 256)
    """
    most = BYTES // max(1, bytes_per_row)
    if most >= 2 * _MANY:
        return most - most % _MANY
    return max(_LEAST, min(most, _MANY - _FEW) // _FEW * _FEW)


def spans(rows: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield where blocks start and stop; a rest that is a single part joins the block before it.

    Example:
        >>> list(spans(1000, 256)), list(spans(520, 256))
        ([(0, 256), (256, 512), (512, 768), (768, 1000)], [(0, 256), (256, 520)])
    """
    start = 0
    while start < rows:
        stop = start + at_once
        stop = rows if rows - stop <= _FEW else stop
        yield start, stop
        start = stop


def _taken(given: Given, fitted: Fitted, start: int, stop: int) -> Intake:
    """Return some rows as the model is given them; errors count rows from the first of all."""
    try:
        return given_for(fitted, _between(given.parts, start, stop), given.name)
    except LogvarError as error:
        whole = sum(_nbytes(part) for part in given.parts)
        if (start, stop) == (0, len(given)):
            raise
        if whole <= _WHOLE:  # the error in the block's words would miss what follows it
            given_for(fitted, _between(given.parts, 0, len(given)), given.name)
        raise LogvarError(f"{error} (rows are counted from row {start:,} here)") from error


def _between(parts: tuple[Any, ...], start: int, stop: int) -> Any:
    """Return the rows from one number to another, of several sources one after another."""
    pieces = []
    for part in parts:
        size = rows_of_part(part)
        if start < min(stop, size):
            pieces.append(_cut(part, start, min(stop, size)))
        start, stop = max(start - size, 0), max(stop - size, 0)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _cut(part: Any, start: int, stop: int) -> Any:
    if isinstance(part, LargeTable):
        return part.at(np.arange(start, stop))
    if (start, stop) == (0, rows_of_part(part)) and not isinstance(part, StreamedRows):
        return part
    if isinstance(part, Table):
        return rows_between(part, start, stop)
    return part[start:stop]


def rows_of_part(part: Any) -> int:
    """Return the number of rows of an array, a table or an AnnData object."""
    return int(part.n_obs) if is_annotated(part) else len(part)


def _nbytes(part: Any) -> int:
    if isinstance(part, LargeTable):
        return 8 * len(part) * len(part.names)
    if isinstance(part, Table):
        return sum(column.nbytes for column in part.columns)
    return int(getattr(part, "nbytes", 0))
