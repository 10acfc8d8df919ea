"""Fill the missing cells of rows as they were given, with a trained model."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from logvar.assembly.tables import Intake
from logvar.backend.sparse import SparseRows, array_of
from logvar.data.intake import warn_of_outside
from logvar.errors import LogvarError
from logvar.evaluation.imputation import complete
from logvar.fitted import Fitted


class Imputation(NamedTuple):
    """Completed rows, as the rows came."""

    filled: Any
    """Missing cells hold E[x_mis | x_obs]; for a category, its most probable level."""
    draws: list[Any]
    """Copies whose missing cells are draws from p(x_mis | x_obs), for multiple imputation."""
    effective_samples: Float[np.ndarray, "rows"]
    """How many equally weighted draws of z the weighted ones of each row are worth; NaN for rows
    without a missing cell."""


def imputed(fitted: Fitted, given: Intake, n_samples: int, draws: int, seed: int) -> Imputation:
    """Complete rows; those without a missing cell come back as they are.

    Args:
        fitted: the trained model.
        given: the rows.
        n_samples: draws of z for each row.
        draws: completed copies to draw.
        seed: the seed of the draws.

    Raises:
        LogvarError: a column is not modelled, so that its missing cells cannot be filled.
    """
    rows = given.rows
    if isinstance(rows, SparseRows):
        raise LogvarError(
            "X is a sparse matrix, which has no missing cells: give an array with NaN for each "
            "missing cell"
        )
    intensities = fitted.likelihood.reads_intensities
    if rows.dtype == np.uint8:
        expected = "intensities in [0, 1]" if intensities else "floating-point numbers"
        raise LogvarError(
            f"X is uint8, which has no missing cells: give X as {expected} with NaN for each "
            "missing cell"
        )
    rows = array_of(rows)
    missing = np.isnan(rows)
    which = np.flatnonzero(missing.reshape(len(rows), -1).any(1))
    effective = np.full(len(rows), np.nan)
    filled, copies = rows.copy(), [rows.copy() for _ in range(draws)]
    if len(which):
        with given.naming(which):
            told = None if given.condition is None else given.condition[which]
            examples, preparation = fitted.read(rows[which], told)
        warn_of_outside(examples, numbers=given.first + which, rows=len(rows))
        found = complete(fitted.model, examples, preparation, seed, n_samples, draws)
        effective[which] = found.effective_samples
        for target, values in zip(
            [filled, *copies], [found.mean, *np.moveaxis(found.drawn, 1, 0)], strict=True
        ):
            some = target[which]
            cells = missing[which]
            # Beside observed intensities the filled ones are intensities, too, and not pixels.
            some[cells] = (values if intensities else fitted.in_own_units(values))[cells]
            target[which] = some
    back = [fitted.as_given(cells, given.table, ~missing) for cells in (filled, *copies)]
    return Imputation(back[0], back[1:], effective)
