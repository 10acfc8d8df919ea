"""Checks of an estimator's inputs: rows, seeds, noise. Each invalid input is one clear error."""

import dataclasses
import numbers
import os
import warnings
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int, PyTree
from sklearn.utils import check_random_state

from logvar.backend.sparse import Rows, SparseRows
from logvar.backend.streamed import StreamedRows
from logvar.data.examples import Examples
from logvar.data.preparation import Preparation, as_rows
from logvar.data.sparse import is_sparse, sparse_rows
from logvar.data.standardization import Standardization
from logvar.errors import LogvarError, OutsideTrainingRange
from logvar.randomness import Gaussian


def dense_rows(X: Any, name: str = "X") -> np.ndarray:
    """Return X as rows of numbers; NaN is a missing cell.

    Sparse matrices and paths are refused by name, because NumPy would make them an array of one
    object, or of texts.
    """
    paths = X if isinstance(X, list | tuple) else [X]
    if len(paths) and all(isinstance(path, str | os.PathLike) for path in paths):
        raise LogvarError(
            f"{name} is {'a list with ' if paths is X else ''}{str(paths[0])!r}: expected numbers, "
            "or the path of a .npy, .zarr, .csv, .tsv, .parquet, .arrow or .feather file, or a "
            "list of paths of .npy and .zarr, or of .parquet, .arrow and .feather files; read "
            "others first"
        )
    if is_sparse(X):
        raise LogvarError(
            f"Sparse data was passed ({type(X).__name__}), but dense data is required: use "
            f"{name}.toarray(), or, for counts, likelihood='negative-binomial' or 'poisson'"
        )
    return as_rows(X, name, missing=True)


def at_least_two(rows: Rows) -> Rows:
    """Check that there are enough rows to train on."""
    if len(rows) < 2:
        raise LogvarError(
            f"X has 1 sample (shape {rows.shape}): expected at least 2 rows to train on; give more"
        )
    return rows


def alike(given: Any, rows: Rows) -> Rows:
    """Return rows to hold out, in memory, after checking that they are of the training rows' kind.

    Raises:
        LogvarError: they have another shape, or are pixels where those are numbers.
    """
    read = sparse_rows if isinstance(rows, SparseRows) and is_sparse(given) else dense_rows
    validation = read(given, "validation_data")
    if validation.shape[1:] != rows.shape[1:]:
        raise LogvarError(
            f"validation_data has examples of shape {validation.shape[1:]}: expected "
            f"{rows.shape[1:]}, as X has"
        )
    if (validation.dtype == np.uint8) != (rows.dtype == np.uint8):
        raise LogvarError(
            f"validation_data is {validation.dtype} and X is {rows.dtype}: give both as pixels "
            "(uint8) or both as real numbers"
        )
    return validation


def counting_rows(sample_weight: Any, rows: int) -> Int[np.ndarray, "counting"] | None:
    """Return the numbers of the rows whose weight is above 0; None if all rows count.

    Raises:
        LogvarError: the weights do not fit.
    """
    weight = weights_of(sample_weight, rows)
    return None if weight is None or weight.all() else np.flatnonzero(weight)


def counted(rows: Rows, sample_weight: Any) -> tuple[Rows, Float[np.ndarray, "rows"] | None]:
    """The rows that count, with their weights.

    A row of weight 0 is left out, so that nothing is taken from it: no likelihood, no condition, no
    standardization, no share of a batch, and no NaN where it is an outlier. Only what the columns
    of a table are, with their levels, is found from all of its rows.

    Raises:
        LogvarError: the weights do not fit.
    """
    weight = weights_of(sample_weight, len(rows))
    if weight is None or weight.all():
        return rows, weight
    kept = weight > 0
    if kept.sum() < 2:
        raise LogvarError(
            f"sample_weight is above 0 for {kept.sum()} of {len(rows):,} rows: expected at least 2 "
            "rows to train on; give more of them a weight"
        )
    chosen = rows.at(np.flatnonzero(kept)) if isinstance(rows, StreamedRows) else rows[kept]
    return chosen, weight[kept]


def weights_of(sample_weight: Any, rows: int) -> np.ndarray | None:
    """Return how much each row counts, (rows,) float32.

    Raises:
        LogvarError: not one finite number per row, a negative one, or all of them 0.
    """
    if sample_weight is None:
        return None
    try:
        with np.errstate(over="ignore"):  # to infinity, which is refused below
            weight = np.asarray(sample_weight, np.float32)
    except (TypeError, ValueError) as error:
        raise LogvarError(f"sample_weight is not an array of numbers: {error}") from error
    if weight.ndim == 0:
        weight = np.full(rows, weight)
    if weight.shape != (rows,):
        raise LogvarError(
            f"sample_weight.shape == {weight.shape}, expected {(rows,)}: give one number for each "
            "row of X"
        )
    if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
        raise LogvarError(
            "sample_weight has negative or non-finite numbers, or only zeros: give each row a "
            "weight of at least 0, and some of them more"
        )
    return weight


def read_as(preparation: Preparation, rows: np.ndarray, *, bits: bool) -> Preparation:
    """Return the preparation that reads these rows for a Bernoulli likelihood.

    uint8 are pixels (0 to 255) and floating-point numbers are intensities (0 to 1), whichever of
    them the model was fitted on. A row is read alike whatever the rows beside it are.

    Args:
        preparation: that of the model.
        rows: the rows.
        bits: whether all training rows were 0 or 1; then uint8 are 0 or 1, too.
    """
    pixels = rows.dtype == np.uint8 and not bits
    if not pixels and ((rows < 0) | (rows > 1)).any():  # neither is true of a missing cell
        low, high = np.nanmin(rows), np.nanmax(rows)
        expected = "0 and 1, as it was fitted on" if bits else "intensities in [0, 1]"
        raise LogvarError(
            f"X has values from {low:g} to {high:g}: a Bernoulli model expects {expected}, or "
            f"{'intensities' if bits else 'pixels stored as uint8'}; rescale X"
        )
    return dataclasses.replace(preparation, divisor=255.0 if pixels else 1.0)


def warn_of_outside(
    examples: Examples,
    first: int = 0,
    numbers: Int[np.ndarray, "rows"] | None = None,
    rows: int | None = None,
) -> None:
    """Warn of rows outside the training range: how many there are, and where.

    Args:
        examples: the rows.
        first: the number of the first of them.
        numbers: the number of each, if they are some of more rows.
        rows: how many those are.
    """
    found = examples.units
    if (
        not isinstance(found, Standardization)
        or examples.actual is None
        or not len(examples.outside)
    ):
        return
    actual, row = examples.actual[0], int(examples.outside[0])
    feature = int(np.nanargmax(np.abs(actual - examples.values[row])))  # NaN is a missing cell
    value, low, high = (
        float((found.shift + found.factor * end).reshape(-1)[feature])
        for end in (actual, found.low, found.high)
    )
    number = first + row if numbers is None else int(numbers[row])
    total = len(examples) if rows is None else rows
    outside = len(examples.outside)
    message = OutsideTrainingRange(outside, total, number, feature, value, low, high)
    warnings.warn(message, stacklevel=4)


def noise_of(eps: ArrayLike, rows: int, like: PyTree) -> Float[np.ndarray, "rows samples latent"]:
    """Return the given noise for these rows, with the axis of draws after that of rows.

    Raises:
        LogvarError: its shape is wrong, or the model needs more than one array of noise.
    """
    if not isinstance(like, Gaussian) or len(like.shape) != 1:
        raise LogvarError("eps cannot be given for a posterior that takes more than one noise")
    latent = like.shape[0]
    noise = np.asarray(eps, np.float32)
    noise = noise[None] if noise.ndim == 2 else noise
    if noise.ndim != 3 or noise.shape[1:] != (rows, latent):
        raise LogvarError(
            f"eps has shape {np.shape(eps)}: expected ({rows}, {latent}) or (samples, {rows}, "
            f"{latent})"
        )
    return np.moveaxis(noise, 0, 1)


def seed_of(random_state: Any) -> int:
    """Return a seed from an integer, None or a RandomState, as in scikit-learn."""
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        if not 0 <= int(random_state) < 2**31:
            raise LogvarError(
                f"random_state is {random_state!r}: expected an integer from 0 to 2147483647"
            )
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def draws_of(n_samples: Any, name: str = "n_samples") -> int:
    """Check a number of draws."""
    if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
        raise LogvarError(f"{name} is {n_samples!r}: expected an integer of at least 1")
    return int(n_samples)
