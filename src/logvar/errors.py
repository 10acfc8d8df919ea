"""The errors meant for users: each says what, got, expected, and what to do next."""

import difflib
from collections.abc import Iterable


class LogvarError(ValueError):
    """Invalid input from the user; the message is one line and says what to do."""


class LogvarTypeError(LogvarError, TypeError):
    """The same, when Python's convention asks for a TypeError."""


class BadCell(LogvarError):
    """A value or a row that a likelihood cannot score; the names of both may follow.

    Args:
        before: the message up to the place.
        after: the message after it.
        row: the number of the row.
        column: the number of the column, if it is one cell.
        row_name: the row's name, such as a cell's barcode.
        column_name: the column's name.

    Example:
        >>> error = BadCell("got -1 at", "expected a count", 4, 2)
        >>> str(error)
        'got -1 at row 4, column 2 (counting from 0): expected a count'
        >>> str(error.named("AAAC", "CD3D"))
        "got -1 at row 4 ('AAAC'), column 2 ('CD3D') (counting from 0): expected a count"
    """

    def __init__(
        self,
        before: str,
        after: str,
        row: int,
        column: int | tuple[int, ...] | None = None,
        *,
        row_name: object = None,
        column_name: object = None,
        joint: str = ":",
    ):
        where = f"row {row}" if row_name is None else f"row {row} ({row_name!r})"
        if column is not None:
            where += f", column {column}"
            where += "" if column_name is None else f" ({column_name!r})"
        super().__init__(f"{before} {where} (counting from 0){joint} {after}")
        self.row, self.column = row, column
        self._before, self._after, self._joint = before, after, joint

    def named(
        self, row_name: object = None, column_name: object = None, row: int | None = None
    ) -> "BadCell":
        """Return the same error with names, and with another number for the row if it is given."""
        return BadCell(
            self._before,
            self._after,
            self.row if row is None else row,
            self.column,
            row_name=row_name,
            column_name=column_name,
            joint=self._joint,
        )


class OutsideTrainingRange(UserWarning):
    """Rows lie so far outside the training range that the encoder's output is meaningless there.

    They are encoded from the nearest point inside the range, and scored as they are.

    Args:
        outside: how many of the rows do.
        rows: how many rows there are.
        row: the number of the first that does.
        feature: the number of its cell that is farthest outside.
        value: that cell, in the data's own units.
        low: the least value that the encoder reads there.
        high: the largest.

    Example:
        >>> blocks = [OutsideTrainingRange(1, 9, 4, 0, 50.0, -3.0, 3.0),
        ...           OutsideTrainingRange(2, 9, 11, 1, 60.0, -3.0, 3.0)]
        >>> str(OutsideTrainingRange.together(blocks, 18)).split(":")[0]
        '3 of 18 rows lie outside of what the encoder was trained on (the first is row 4'
    """

    def __init__(
        self, outside: int, rows: int, row: int, feature: int, value: float, low: float, high: float
    ):
        super().__init__(outside, rows, row, feature, value, low, high)
        self.outside, self.rows, self.row = outside, rows, row
        self.feature, self.value, self.low, self.high = feature, value, low, high

    def __str__(self) -> str:
        return (
            f"{self.outside:,} of {self.rows:,} rows lie outside of what the encoder was trained "
            f"on (the first is row {self.row}: feature {self.feature} is {self.value:.6g}, and the "
            f"encoder reads values from {self.low:.6g} to {self.high:.6g}): they are encoded from "
            "the nearest point within, and scored as they are"
        )

    @classmethod
    def together(
        cls, found: "Iterable[OutsideTrainingRange]", rows: int
    ) -> "OutsideTrainingRange | None":
        """Return one warning for all rows from those of their blocks; None if there are none."""
        by_row = {each.row: each for each in found}  # several methods may have seen one block
        if not by_row:
            return None
        first = by_row[min(by_row)]
        outside = sum(each.outside for each in by_row.values())
        return cls(outside, rows, *first.args[2:])


class FewEffectiveSamples(UserWarning):
    """Rows were drawn given cells, by weights of which a few outweigh all others."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> LogvarError:
    """Build the error for a name that is not registered, with the nearest registered name.

    Example:
        >>> str(unknown_name("scale", "log-sd", ["log-std", "softplus"]))
        "unknown scale 'log-sd': did you mean 'log-std'? Known: log-std, softplus"
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return LogvarError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(names)}")
