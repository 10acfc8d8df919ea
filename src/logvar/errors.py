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
    """


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
