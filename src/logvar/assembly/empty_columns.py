"""Each column needs a value that can be learned from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from logvar.backend.sparse import Rows, array_of
from logvar.backend.streamed import StreamedRows
from logvar.data.facts import facts_of
from logvar.data.preparation import has_missing
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError


def check_columns(tables: Sequence[Rows], table: TableForm | None) -> None:
    """Check that each column has a value in some of the rows that a model may be trained on.

    Args:
        tables: these rows, together or in parts.
        table: the form of the table that they are cells of, if they are.

    Raises:
        LogvarError: columns have none; the message names the first ten of them.

    Example:
        >>> check_columns([np.array([[1.0, np.nan], [2.0, 3.0]])], None)
    """
    if not all(map(has_missing, tables)):
        return
    empty = np.argwhere(np.logical_and.reduce([_empty(rows) for rows in tables]))
    if not len(empty):
        return
    columns = None if table is None else table.schema.modelled
    named = [
        columns[at[0]].name if columns else at[0] if len(at) == 1 else tuple(at)
        for at in empty[:10].tolist()
    ]
    which = ", ".join(map(repr, named)) + (", …" if len(empty) > 10 else "")
    raise LogvarError(
        f"no value in any of {sum(map(len, tables)):,} rows in column {which}: drop "
        f"{'them' if len(empty) > 1 else 'it'}, or hold out other rows"
    )


def _empty(rows: Rows) -> Bool[np.ndarray, "*shape"]:
    """Return which columns have no value."""
    if isinstance(rows, StreamedRows):
        return np.asarray(facts_of(rows).observed == 0)
    return np.isnan(array_of(rows)).all(0)
