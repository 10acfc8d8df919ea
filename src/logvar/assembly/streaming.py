"""A likelihood's questions about rows that are read when they are needed: a block at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows, blocks
from logvar.data.facts import facts_of
from logvar.errors import BadCell, LogvarError
from logvar.likelihoods import LikelihoodSpec
from logvar.likelihoods.categorical import Categorical


def checked(check: Callable[[Any], None], rows: Rows) -> None:
    """Check rows; an error names a row by its number among all of them.

    Raises:
        LogvarError: `check` raises it.
    """
    if not isinstance(rows, StreamedRows):
        check(rows)
        return
    for start, block in blocks(rows):
        try:
            check(block)
        except BadCell as error:
            raise error.named(row=error.row + start) from None
        except LogvarError as error:
            more = f" (rows are counted from row {start:,} of {rows.name})" if start else ""
            raise LogvarError(f"{error}{more}") from error


def decided(spec: LikelihoodSpec, tables: Sequence[Rows], sample: Rows) -> LikelihoodSpec:
    """Return a likelihood with its settings from training (and held-out) rows.

    Args:
        spec: the likelihood.
        tables: the training rows, and the held-out ones.
        sample: the training rows that medians are taken from.

    Raises:
        LogvarError: the rows do not fit.
    """
    first, *others = tables
    if not isinstance(first, StreamedRows) and sample is first:
        return spec.decided(*tables)
    if isinstance(spec, Categorical) and not spec.levels:
        found: LikelihoodSpec = _of_codes(tables)
    else:
        found = spec.decided(sample)
    for rows in (first, *others):
        if not _is_known_to_fit(found, rows):
            checked(found.check, rows)
    return found


def _is_known_to_fit(spec: LikelihoodSpec, rows: Rows) -> bool:
    """Return whether it is known without another pass that a likelihood can read the rows."""
    if type(spec).check is LikelihoodSpec.check:
        return True  # it reads anything
    if not (isinstance(rows, StreamedRows) and spec.reads_intensities):
        return False
    found = facts_of(rows)
    ends = np.stack([found.low, found.high])
    if not np.isfinite(ends).all():
        return False
    try:
        spec.check(ends.astype(rows.dtype))  # of the range alone
    except LogvarError:
        return False  # a pass over the rows names the first that is outside
    return True


def _of_codes(tables: Sequence[Rows]) -> Categorical:
    """Return as many levels for each column as its largest code asks for."""
    highest: list[np.ndarray] = []
    for rows in tables:
        if isinstance(rows, StreamedRows):
            high = facts_of(rows).high.reshape(1, -1)
            high = np.where(np.isfinite(high), high, np.nan)
        else:
            assert not isinstance(rows, SparseRows)
            high = rows.reshape(len(rows), -1)
        highest.append(np.fmax.reduce(high, axis=0))  # NaN is a column without a code
    spec = Categorical().decided(np.fmax.reduce(highest)[None])
    assert isinstance(spec, Categorical)
    return spec
