"""The condition of X's rows: from columns of X itself, or given beside it."""

import dataclasses
from typing import Any

import numpy as np

from logvar.assembly.start import Start
from logvar.assembly.tables import Intake, taken_in_again
from logvar.data.annotated import is_annotated, obs_columns
from logvar.data.conditions import Conditions, Matrix, Told, names_of, table_of
from logvar.data.table.frame import Table
from logvar.data.table.rows import columns_of_kinds, rows_of
from logvar.errors import LogvarError

KIND = "condition"
"""The kind of a table's column that is one."""


def told_first(
    given: Intake,
    X: Any,
    condition: Any,
    start: Start | None = None,
    kept: np.ndarray | None = None,
) -> Told | None:
    """Return the conditions of training rows; None if there are none.

    Args:
        given: X, taken in; columns whose kind is "condition" are one.
        X: as it was given.
        condition: what was given for it: names of columns of X, or values for its rows.
        start: the run whose weights training starts from.
        kept: the numbers of the rows that count, if others do not; those are not read.

    Raises:
        LogvarError: it is given twice, cannot be read, or only one of the two runs has one.
    """
    names = names_of(condition)
    if condition is None and is_annotated(X) and start is not None and start.conditions is not None:
        names = start.conditions.names if start.conditions.inside else ()
    inside: Any = None
    if names and is_annotated(X):
        inside = obs_columns(X, list(map(str, names)))
    elif given.table is not None and given.form is not None:
        inside = columns_of_kinds(given.table, given.form.schema, (KIND,))
    if names and inside is None and not isinstance(condition, str) and len(names) == _rows(given):
        names = ()  # X has no names of columns, so a list of texts is one of levels
    if names and inside is None:
        some = ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")
        raise LogvarError(
            f"condition names {some}, and X has no names of columns: give the values, one row for "
            "each row of X"
        )
    if inside is not None and condition is not None and not names:
        raise LogvarError(
            "condition has values, and X has columns whose kind is condition: give one of them"
        )
    values, rows = condition if inside is None else inside, _rows(given)
    if values is not None and kept is not None:
        values = rows_of(dataclasses.replace(table_of(values, rows), index=None), kept)
        rows = len(kept)
    if start is not None and (start.conditions is not None or values is not None):
        form = _as_before(start, values)
    elif values is None:
        return None
    else:
        form = Conditions.of(values, rows, inside=inside is not None)
    matrix = form.matrix(values, rows)
    if kept is None:
        return Told(form, matrix)
    whole = np.full((_rows(given), form.size), np.nan, np.float32)
    whole[kept] = matrix
    return Told(form, whole)


def taken_in_beside(
    X: Any, condition: Any, which: str, first: Intake, told: Told | None, layer: str = ""
) -> tuple[Intake | None, Told | None]:
    """Take in the rows that were given beside the training rows, to judge by.

    Args:
        X: these rows as they were given; None if there are none.
        condition: what was given for them.
        which: "validation" or "test", as the arguments are called.
        first: the training rows, taken in.
        told: their conditions.
        layer: of an AnnData object, the layer to read instead of its X.

    Returns:
        The rows, None if there are none; and the conditions of the training rows with theirs.

    Raises:
        LogvarError: the rows cannot be read as the training rows; a condition without rows or
            without one of the training rows, or one that does not fit.
    """
    name, argument = f"{which}_data", f"{which}_condition"
    given = None
    if X is not None:
        given = taken_in_again(X, first.form, name, features=first.features, layer=layer)
    if condition is not None and (given is None or told is None):
        other = name if given is None else "condition"
        raise LogvarError(f"{argument} was given without {other}: give both, or leave it out")
    if told is None or given is None:
        return given, told
    held_out = told_again(told.form, given, X, condition, name, argument)
    return given, dataclasses.replace(told, held_out=held_out)


def told_again(
    form: Conditions | None,
    given: Intake,
    X: Any,
    condition: Any = None,
    name: str = "X",
    argument: str = "condition",
) -> Matrix | None:
    """Return the condition of rows for a model that was trained with one of this form.

    Args:
        form: that form.
        given: X, taken in.
        X: the rows as they were given.
        condition: what was given for them.
        name: what messages call X.
        argument: what they call the condition.

    Raises:
        LogvarError: there is none and the model needs one, or the reverse; or it does not fit.
    """
    if form is None:
        if condition is not None:
            raise LogvarError(
                "condition was given, and the model was fitted without one: leave it out, or fit "
                "with condition=…"
            )
        return None
    if condition is None and form.inside:
        condition = _inside(form, given, X, name)
    if condition is None:
        where = f"{name} has no such columns" if form.inside and X is not None else "none was given"
        remedy = f"give {argument}=…, or rows that have these columns"
        if X is None:  # draws to come
            names = ", ".join(f"{each}=…" for each in form.names)
            remedy = f'give condition=…, on the command line --condition "{names}"'
        raise LogvarError(f"the model was fitted with a condition, {form}, and {where}: {remedy}")
    return form.matrix(condition, _rows(given))


def _as_before(start: Start, values: Any) -> Conditions:
    """Return the earlier run's conditions, with the new levels of these rows after its own."""
    earlier = start.conditions
    if earlier is None:
        raise LogvarError(
            f"condition was given, and {start.name} was fitted without one: leave it out, or fit "
            "without from_run"
        )
    if values is None:
        raise LogvarError(
            f"{start.name} was fitted with a condition, {earlier}: give condition=… for the new "
            "rows, too"
        )
    return earlier.with_levels_of(values) or earlier


def _inside(form: Conditions, given: Intake, X: Any, name: str) -> Any:
    if is_annotated(X):
        return obs_columns(X, [str(each) for each in form.names], name)
    if given.table is None or any(name not in given.table.names for name in form.names):
        return None
    columns = tuple(given.table[name] for name in form.names)
    return Table(form.names, columns, given.table.container)


def _rows(given: Intake) -> int:
    return int(given.rows.shape[0])
