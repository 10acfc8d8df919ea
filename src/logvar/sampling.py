"""Rows with some given cells, drawn from a trained model, as the rows of `fit` came."""

import dataclasses
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from logvar.backend.compiling import from_host
from logvar.data.table.where import cells_where
from logvar.errors import FewEffectiveSamples, LogvarError
from logvar.evaluation.given_cells import draw_given
from logvar.fitted import Fitted
from logvar.likelihoods.rates import OBSERVED
from logvar.models.batch import Batch
from logvar.randomness import Purpose, row_key

FEW = 100
"""Rows drawn with fewer effective samples than this are warned of."""
_LOG = logging.getLogger("logvar")


class Sampling(NamedTuple):
    """Rows that have the given cells, as the rows of `fit` came."""

    rows: Any
    effective_samples: float
    """How many equally weighted draws of z the weighted ones are worth."""
    draws: int
    """The number of weighted draws of z."""
    log_probability: float
    """log p(the given cells) under the model, nats."""


def one_after_another(drawn: Callable[[int, int], Any]) -> Callable[[int], Any]:
    """Return what draws the next n rows.

    Args:
        drawn: draws n rows, given how many came before them.

    Example:
        >>> some = one_after_another(lambda n, first: list(range(first, first + n)))
        >>> some(2), some(3)
        ([0, 1], [2, 3, 4])
    """
    first = 0

    def following(n: int) -> Any:
        nonlocal first
        rows = drawn(n, first)
        first += n
        return rows

    return following


def sampled_where(
    fitted: Fitted,
    where: Any,
    n: int,
    seed: int,
    *,
    mean: bool = False,
    missing: bool = False,
    condition: Any = None,
) -> Sampling:
    """Draw rows from p(x | the given cells); see `sampling_where`."""
    settings = {"mean": mean, "missing": missing, "condition": condition}
    found = sampling_where(fitted, where, n, seed, **settings)
    return found._replace(rows=found.rows(n))


def sampling_where(
    fitted: Fitted,
    where: Any,
    n: int,
    seed: int,
    *,
    mean: bool = False,
    missing: bool = False,
    condition: Any = None,
) -> Sampling:
    """Draw rows from p(x | the given cells), one block after another; see `given_cells`.

    Returns:
        Sampling, whose `rows` is a function that returns the next m of the n rows.

    Args:
        fitted: the trained model.
        where: values by the names of columns.
        n: how many rows.
        seed: the seed of the draws.
        mean: return E[x | z] instead of a draw of x.
        missing: leave other cells out as they are left out of the training rows.
        condition: for a conditional model, one value for each of its columns.

    Raises:
        LogvarError: the model was not fitted on a table, a column is not there, a level was never
            seen, or the cells are impossible.
    """
    if fitted.table is None:
        raise LogvarError(
            f"where names columns, and this model was fitted on an array of shape {fitted.shape} "
            "for each row: fit a data frame, a dict of columns or a table file"
        )
    if not isinstance(where, Mapping) or not where:
        raise LogvarError(
            f"where is {where!r}: expected a dict from names of columns to values, as in "
            "{'education': 'Doctorate', 'age': 40}"
        )
    rates = getattr(fitted.model.likelihood, "rates", None)
    if rates is not None and rates.mode == OBSERVED:
        raise LogvarError(
            "where gives some counts of a row, and this model reads a row's library size from all "
            "of them: fit with library=none or library=learned, or use likelihood='mixed'"
        )
    given = cells_where(where, fitted.table.schema)
    seen, row = _prepared(fitted, given, seed, fitted.told(condition, 1))
    found = draw_given(fitted.model, seen, row, n, seed, mean=mean)
    leave_out = fitted.leaving_out(seed) if missing else None
    _say(found.effective_samples, found.draws)

    def rows(some: int, first: int) -> Any:
        cells = fitted.in_own_units(found.x(first, first + some))
        cells = cells if leave_out is None else leave_out(cells)
        cells = np.where(np.isnan(given), cells, given).astype(cells.dtype)
        return fitted.as_given(cells, beside=fitted.told_columns(condition, some), first=first)

    return Sampling(
        one_after_another(rows), found.effective_samples, found.draws, found.log_probability
    )


def _prepared(
    fitted: Fitted, given: np.ndarray, seed: int, told: np.ndarray | None
) -> tuple[Batch, Batch]:
    """Return the row as the encoder reads it, and with values outside its range as they are."""
    examples, preparation = fitted.read(given, told)
    stored, words = jax.tree.map(from_host, (examples.stored[0], examples.words[0]))
    key = row_key(seed, Purpose.BINARIZATION, words)
    seen = preparation.batch(stored, key)
    if not len(examples.outside):
        return seen, seen
    actual = from_host(examples.as_they_are(np.array([0]))[0].astype(np.float32))
    return seen, preparation.batch(dataclasses.replace(stored, x=actual), key)


def _say(effective_samples: float, draws: int) -> None:
    if effective_samples < FEW:
        warnings.warn(
            f"the rows rest on {effective_samples:,.1f} effective samples of {draws:,} draws of z: "
            "they vary too little and are only rough; give fewer cells, or values that are "
            "less improbable together",
            FewEffectiveSamples,
            stacklevel=5,
        )
        return
    _LOG.info(f"effective samples of {draws:,} draws of z: {effective_samples:,.0f}")
