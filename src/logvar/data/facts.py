"""The facts of all rows that training needs first, from one pass over blocks of them.

A pass over streamed rows reads every file once, so all that is asked of them is found together and
kept: which cells are missing, ends, whether values are integers or bits, and the fingerprint.
"""

import dataclasses
import hashlib
import weakref
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from logvar.backend.streamed import StreamedRows, blocks

_EXACT = 2.0**53
"""From here on every float64 is an integer."""

Feature = Float[np.ndarray, "*shape"]


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """Facts of some rows, over their observed cells; NaN is a missing one."""

    rows: int
    observed: Int[np.ndarray, "*shape"]
    """How many cells of each feature are observed."""
    low: Feature
    """The smallest value of each feature; infinity if none is observed."""
    high: Feature
    first: Feature
    """The first observed value of each feature; NaN if there is none."""
    whole: Bool[np.ndarray, "*shape"]
    """Whether all values of a feature are integers that float64 counts exactly."""
    bits: bool
    """Whether all values are 0 or 1."""
    fraction: tuple[int, ...] | None
    """(row, *feature) of the first value that is no integer."""
    away: Feature | None
    """The sum of the differences from the first row; None if a cell of that row is missing."""
    narrow: bool
    """Whether float32 holds all values exactly."""
    sha256: str
    """As `logvar.data.sources.fingerprint`."""

    @property
    def missing(self) -> bool:
        """Whether a cell is missing."""
        return bool((self.observed < self.rows).any())


_KNOWN: "weakref.WeakKeyDictionary[StreamedRows, Facts]" = weakref.WeakKeyDictionary()


def facts_of(rows: StreamedRows) -> Facts:
    """Return the facts of streamed rows, which are read once for all callers.

    Raises:
        LogvarError: a file cannot be read, or changed meanwhile.

    Example:
        >>> from logvar.data.streamed import streamed_rows
        >>> facts = facts_of(streamed_rows(np.array([[1.0, np.nan], [0.0, 2.5]])))
        >>> facts.missing, facts.high.tolist(), facts.whole.tolist(), facts.fraction
        (True, [1.0, 2.5], [True, False], (1, 1))
    """
    found = _KNOWN.get(rows)
    if found is None:
        found = _KNOWN[rows] = _found(rows)
    return found


def _found(rows: StreamedRows) -> Facts:
    shape, pixels = rows.shape[1:], rows.dtype == np.uint8
    observed, whole = np.zeros(shape, np.int64), np.ones(shape, bool)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    first = np.full(shape, np.nan)
    bits, fraction = True, None
    away: np.ndarray | None = np.zeros(shape)
    digests = Digests(rows.shape, rows.dtype)
    for start, block in blocks(rows):
        digests.update(block)
        if pixels:
            observed += len(block)
            low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
            first = np.where(np.isnan(first), block[0], first)
            away = away + np.sum(block.astype(np.float64) - first, 0)
            continue
        there = block == block
        counts = there.sum(0)
        observed += counts
        with np.errstate(invalid="ignore"):
            low = np.fmin(low, np.fmin.reduce(block, axis=0, initial=np.inf))
            high = np.fmax(high, np.fmax.reduce(block, axis=0, initial=-np.inf))
            off = (block != np.rint(block)) & there
            bits = bits and bool((((block == 0) | (block == 1)) | ~there).all())
        whole &= ~off.any(0)
        if fraction is None and off.any():
            at = np.argwhere(off)[0].tolist()
            fraction = (start + at[0], *at[1:])
        new = np.isnan(first) & (counts > 0)
        if new.any():
            value = np.take_along_axis(block, np.argmax(there, axis=0)[None], axis=0)[0]
            first = np.where(new, value, first)
        if start == 0 and np.isnan(block[0]).any():
            away = None
        if away is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                away = away + np.nansum(block.astype(np.float64) - first, 0)
    rows.check()
    if pixels:
        bits = bool(high.max() <= 1)
    whole &= np.maximum(np.abs(low), np.abs(high)) < _EXACT
    narrow, sha256 = digests.end()
    return Facts(
        rows=len(rows),
        observed=observed,
        low=low,
        high=high,
        first=first,
        whole=whole & (observed > 0),
        bits=bits,
        fraction=fraction,
        away=away,
        narrow=narrow,
        sha256=sha256,
    )


class Digests:
    """SHA-256 over shape and values, as float32 if it holds all of them and as float64 otherwise.

    Which of the two is known at the end only, so both are kept as long as both are possible.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        given: np.dtype = np.dtype(dtype)
        wide = given.kind == "f" and given != np.float32
        kinds: list[np.dtype] = [np.dtype(np.float32), np.dtype(np.float64)] if wide else [given]
        self._digests = {kind: hashlib.sha256(f"{kind.str} {shape}".encode()) for kind in kinds}

    def update(self, block: np.ndarray) -> None:
        """Add the next rows."""
        narrow = np.dtype(np.float32)
        if narrow in self._digests and len(self._digests) > 1 and not fits_float32(block):
            del self._digests[narrow]
        for dtype, digest in self._digests.items():
            digest.update(bytes_of(block, dtype))

    def end(self) -> tuple[bool, str]:
        """Return (whether float32 holds all values, the hash)."""
        dtype, digest = next(iter(self._digests.items()))
        return dtype != np.float64, digest.hexdigest()


def fits_float32(rows: np.ndarray) -> bool:
    """Return whether float32 holds all values exactly."""
    with np.errstate(over="ignore"):
        return bool(((rows.astype(np.float32) == rows) | np.isnan(rows)).all())


def bytes_of(rows: np.ndarray, dtype: Any) -> memoryview:
    """Return the bytes of rows in a dtype, with one NaN in place of the many."""
    with np.errstate(over="ignore"):
        some = rows.astype(dtype, copy=False)
    if some.dtype.kind == "f" and np.isnan(some).any():
        some = np.where(np.isnan(some), some.dtype.type(np.nan), some)
    return np.ascontiguousarray(some).data
