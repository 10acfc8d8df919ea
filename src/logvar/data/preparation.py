"""Convert stored rows to the numbers that a model sees: intensities and binarization."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.sparse import Padded, Rows, SparseRows, array_of
from logvar.backend.streamed import StreamedRows, Where, row_at
from logvar.data.facts import facts_of
from logvar.data.order import aligned
from logvar.errors import LogvarError, LogvarTypeError, unknown_name
from logvar.models.batch import Batch
from logvar.randomness import Purpose, host_stream, row_words

_NARROW = (np.dtype(np.float16), np.dtype(np.float32))
BINARIZATIONS = ("none", "threshold", "static", "dynamic")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["level", "placeholder"],
    meta_fields=["divisor", "binarization", "dequantize", "missing"],
)
@dataclasses.dataclass(frozen=True)
class Preparation:
    """The conversion of rows to inputs; `level` is an input of compiled programs, all else static.

    Args:
        divisor: 255 for pixels stored as uint8, so that they become intensities; otherwise 1.
        binarization: `none`; `threshold` (x > ½, as in the tutorial); `static` (each intensity is
            drawn once as a Bernoulli, and the row stays so); `dynamic` (drawn anew at every visit).
        dequantize: add uniform noise on [−½, ½) at every visit, so that a density of the sum
            bounds the probability of the integer (Theis, van den Oord & Bethge 2016,
            arXiv 1511.01844).
        level: the distance between two integers in standardized rows, for each feature.
        missing: whether rows may have missing cells, which are NaN.
        placeholder: what stands in x for a missing cell. Nothing depends on it, but densities must
            be finite there, because their gradient is multiplied by 0.
    """

    divisor: float = 1.0
    binarization: str = "none"
    dequantize: bool = False
    level: Any = 1.0  # an array, or a placeholder while a tree is being built
    missing: bool = False
    placeholder: Any = 0.0

    def __post_init__(self):
        if self.binarization not in BINARIZATIONS:
            raise unknown_name("binarization", self.binarization, BINARIZATIONS)

    @property
    def draws(self) -> bool:
        """Whether the conversion is random."""
        return self.dequantize or self.binarization == "dynamic"

    def __call__(self, row: Array, key: PRNGKeyArray) -> Float[Array, "*shape"]:
        """Convert a stored row (or a batch) to the model's input; `key` is for its noise."""
        x = row if row.dtype == jnp.float64 else row.astype(jnp.float32)
        if self.dequantize:
            noise = jax.random.uniform(key, x.shape, jnp.float32, minval=-0.5, maxval=0.5)
            x = x + (jnp.broadcast_to(self.level, x.shape) * noise).astype(x.dtype)
        if self.divisor != 1:
            x = x / self.divisor
        if self.binarization == "threshold":
            return (x > 0.5).astype(jnp.float32)
        if self.binarization == "dynamic":
            return jax.random.bernoulli(key, x.astype(jnp.float32)).astype(jnp.float32)
        return x

    def parts(self, row: Array | Padded, key: PRNGKeyArray) -> tuple[Array, Array | None]:
        """Return (x, which of its cells are observed) of a stored row or a batch.

        The second is None if rows have no missing cells.
        """
        if isinstance(row, Padded):
            row = row.dense()
        if not self.missing:
            return self(row, key), None
        if not jnp.issubdtype(row.dtype, jnp.inexact):
            return self(row, key), jnp.ones(row.shape, bool)
        observed = ~jnp.isnan(row)
        x = self(jnp.where(observed, row, 0), key)
        return jnp.where(observed, x, jnp.asarray(self.placeholder, x.dtype)), observed

    def batch(self, stored: Batch, key: PRNGKeyArray) -> Batch:
        """Convert stored rows (or one of them) to the model's input, with what belongs to them."""
        x, observed = self.parts(stored.x, key)
        return dataclasses.replace(stored, x=x, observed=observed)

    def fix(self, rows: Rows, seed: int) -> Any:
        """Draw static binarization once: rows of 0 and 1 as uint8; other modes change nothing.

        Each row's draw is a function of (seed, the row's bytes), so it is the same in any subset.
        """
        if self.binarization != "static":
            return rows
        if isinstance(rows, StreamedRows):
            if rows.dtype == np.uint8:
                return rows.converted(lambda some, where: self.fix(some, seed), np.uint8)
            # Which of a block's rows have missing cells must not change the dtype of the block.
            dtype = np.float32 if has_missing(rows) else np.uint8
            return rows.converted(lambda some, where: self.fix(some, seed).astype(dtype), dtype)
        rows = array_of(rows)
        fixed = np.empty(rows.shape, np.float32 if has_missing(rows) else np.uint8)
        for i, words in enumerate(row_words(rows)):
            uniform = host_stream(seed, Purpose.STATIC_BINARIZATION, *map(int, words)).random(
                rows.shape[1:], dtype=np.float32
            )
            intensity = rows[i].astype(np.float32) / self.divisor
            fixed[i] = np.where(np.isnan(intensity), np.nan, uniform < intensity)
        return fixed

    @property
    def after_fixing(self) -> "Preparation":
        """Return the preparation that is left to do per batch after `fix`."""
        return Preparation(missing=self.missing) if self.binarization == "static" else self


def has_missing(rows: Rows) -> bool:
    """Return whether a cell is missing, which is NaN; none is in a sparse matrix."""
    if isinstance(rows, SparseRows) or rows.dtype.kind != "f":
        return False
    if isinstance(rows, StreamedRows):
        return facts_of(rows).missing
    return bool(np.isnan(rows).any())


def as_rows(X: object, name: str = "X", *, missing: bool = False) -> np.ndarray:
    """Check examples and return them as uint8, float32 or float64 rows, without rounding them.

    Args:
        X: the examples.
        name: what messages call them.
        missing: whether NaN is allowed, as a missing cell; masked cells of a masked array become
            NaN.

    Raises:
        LogvarError: X is not numeric, empty, not at least two-dimensional, or has NaN or infinity,
            whose first row and column the message names.
    """
    if isinstance(X, np.ma.MaskedArray):
        X = np.where(np.ma.getmaskarray(X), np.nan, X.data) if X.mask.any() else X.data
    try:
        array = np.asarray(X)
    except ValueError as error:  # NumPy's own words are of "inhomogeneous" parts
        raise LogvarError(
            f"{name} is ragged ({error}): expected the same number of values in each row"
        ) from error
    if array.dtype.name.startswith(("bfloat16", "float8")):
        array = array.astype(np.float32)  # types of ml_dtypes, which NumPy does not compute with
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise LogvarTypeError(
                f"{name} holds {_example_of(array)}: each argument must be a string of a number or "
                "a real number; drop or encode such columns"
            ) from error
    if array.dtype.kind == "c":
        raise LogvarError(
            f"Complex data not supported: {name} has dtype {array.dtype}; give real and imaginary "
            "parts as columns"
        )
    if array.dtype.kind not in "fiub":
        raise LogvarError(
            f"{name} has dtype {array.dtype}: expected numbers; drop or encode text columns"
        )
    if array.ndim < 2:
        raise LogvarError(
            f"Expected 2D array, got {array.ndim}D array instead: {name} has shape {array.shape}, "
            "expected (rows, features…). Reshape your data: X.reshape(-1, 1) for one feature, "
            "X.reshape(1, -1) for one row"
        )
    if array.shape[0] == 0 or array.size == 0:
        raise LogvarError(
            f"{name}: found array with {array.shape[0]} sample(s) and {_features(array)} "
            f"feature(s) (shape={array.shape}) while a minimum of 1 is required; give it rows "
            "and columns"
        )
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.uint8:
        return array
    rows = array.astype(np.float32 if array.dtype in _NARROW else np.float64, copy=False)
    bad = ~np.isfinite(rows) if not missing else np.isinf(rows)
    if bad.any():
        raise _not_finite(array, bad, rows.dtype, name)
    return rows


def as_float32(rows: Rows, name: str = "X") -> Any:
    """Return rows for a likelihood that does not standardize: uint8 unchanged, others as float32.

    Raises:
        LogvarError: a value is too large for float32.
    """
    if rows.dtype in (np.uint8, np.float32):
        return rows
    if isinstance(rows, SparseRows):
        return dataclasses.replace(rows, values=as_float32(rows.values[:, None], name)[:, 0])
    if isinstance(rows, StreamedRows):
        return rows.converted(_Narrowed(rows.name), np.float32)
    narrow = aligned(rows.shape, np.float32)
    with np.errstate(over="ignore"):
        narrow[...] = rows
    bad = np.isinf(narrow)
    if bad.any():
        raise _not_finite(rows, bad, narrow.dtype, name)
    return narrow


@dataclasses.dataclass(frozen=True)
class _Narrowed:
    """Converts some of the rows to float32."""

    name: str

    def __call__(self, rows: np.ndarray, where: Where) -> np.ndarray:
        try:
            return as_float32(rows, self.name)
        except LogvarError as error:
            raise LogvarError(f"{error}; rows counted from row {row_at(where, 0):,}") from error


def _not_finite(array: np.ndarray, bad: np.ndarray, dtype: np.dtype, name: str) -> LogvarError:
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    value = array[first]
    what = "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"{value:g}"
    where = f"row {first[0]}, column {first[1] if len(first) == 2 else first[1:]}"
    also = "" if what in ("NaN", "infinity") else f" (too large for {dtype})"
    return LogvarError(
        f"{name} has {what}{also} at {where} (counting from 0): expected finite numbers; "
        "remove or impute such rows"
    )


def _features(array: np.ndarray) -> int:
    return int(np.prod(array.shape[1:]))


def _example_of(array: np.ndarray) -> str:
    for value in array.flat:
        try:
            float(value)
        except (TypeError, ValueError):
            return f"{value!r}"
    return "values that are not numbers"
