"""The categorical likelihood: codes of categories, with a softmax over each column's levels."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from logvar.errors import LogvarError
from logvar.likelihoods.base import (
    Example,
    Likelihood,
    LikelihoodSpec,
    Observed,
    Outputs,
    Shape,
)
from logvar.likelihoods.values import check_integers, place
from logvar.registry import setting

_MOST_LEVELS = 10_000


class Categorical(LikelihoodSpec):
    """Columns of integer codes 0, 1, … of categories, each with its own number of levels.

    Args:
        levels: the number of levels of each column; if empty, the largest code of each column of
            the training rows is its last level.
    """

    levels: tuple[int, ...] = setting(
        (), help="levels of each column; [] takes them from the data", at_least=1
    )
    normalized = "probability of the codes"

    def decided(self, *tables: np.ndarray) -> "Categorical":
        if self.levels:
            for rows in tables:
                self.check(rows)
            return self
        largest = []
        for rows in tables:
            flat = rows.reshape(len(rows), -1)
            check_integers(flat, "categorical", _MOST_LEVELS)
            largest.append(np.fmax.reduce(flat, axis=0))  # NaN is a missing cell
        codes = np.fmax.reduce(largest)
        if (empty := np.isnan(codes)).any():  # `fit` and `compare` name all of them before this
            raise LogvarError(
                f"likelihood 'categorical' got no value in column {int(np.argmax(empty))}: drop "
                "it, or give levels=[…]"
            )
        return Categorical(tuple(int(n) + 1 for n in codes))

    def check_new(self, rows: np.ndarray) -> None:
        self.check(rows)

    def check(self, rows: np.ndarray) -> None:
        flat = rows.reshape(len(rows), -1)
        if self.levels and flat.shape[1] != len(self.levels):
            raise LogvarError(
                f"likelihood 'categorical' has levels for {len(self.levels)} columns, and the rows "
                f"have {flat.shape[1]}: give one number for each column, or levels=[]"
            )
        limits = np.asarray(self.levels)
        off = (flat != np.round(flat)) | (flat < 0) | (flat >= limits)
        off &= flat == flat  # a missing cell has no code to check
        if off.any():
            at = np.argwhere(off)[0]
            raise LogvarError(
                f"likelihood 'categorical' got {flat[tuple(at)]:g} at {place(at)}: expected a code "
                f"from 0 to {self.levels[at[1]] - 1}, the levels of that column; code unknown "
                "categories as one of these, or fit with levels=[…] that have room for them"
            )

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "CategoricalCodes":
        return CategoricalCodes(self.levels, shape)


class CategoricalCodes(Likelihood):
    """P(x = c) = softmax(logits)_c for each column; the logits of all columns form one vector.

    The encoder sees x as one-hot columns. The logits are padded to one matrix; levels that a column
    does not have get probability 0.
    """

    error_name: ClassVar[str] = "error_rate"
    levels: tuple[int, ...] = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)

    def encoder_shape(self, shape: Shape) -> Shape:
        return (sum(self.levels),)

    def output_shape(self, shape: Shape) -> Shape:
        return (sum(self.levels),)

    def all_cells(self, read: Float[Array, "onehot"]) -> Bool[Array, "..."]:
        return jnp.ones(self.shape, bool)

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        log_probs = jax.nn.log_softmax(self._by_column(outputs), axis=-1)
        codes = x.reshape(-1).astype(jnp.int32)
        return jnp.take_along_axis(log_probs, codes[:, None], axis=-1)[:, 0].reshape(x.shape)

    def mean(self, outputs: Outputs) -> Example:
        return self.most_probable(self._by_column(outputs))

    def expectation(self, outputs: Outputs) -> Float[Array, "columns levels"]:
        return self.probabilities(outputs)

    def most_probable(self, expectation: Float[Array, "columns levels"]) -> Example:
        codes = jnp.argmax(expectation, axis=-1)
        return codes.astype(expectation.dtype).reshape(self.shape)

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        drawn = jax.random.categorical(key, self._by_column(outputs), axis=-1)
        return drawn.astype(outputs.dtype).reshape(self.shape)

    def errors(self, mean: Example, x: Example, unit: ArrayLike = 1.0) -> Example:
        """Return 1 where the most probable code is wrong."""
        return (mean != x).astype(mean.dtype)

    def probabilities(self, outputs: Outputs) -> Float[Array, "columns levels"]:
        """Return P(x = c) of each column; 0 for levels that a column does not have."""
        return jax.nn.softmax(self._by_column(outputs), axis=-1)

    def encoder_input(self, x: Example, observed: Observed | None = None) -> Float[Array, "onehot"]:
        codes = x.reshape(-1).astype(jnp.int32)
        one_hot = codes[:, None] == jnp.arange(max(self.levels), dtype=jnp.int32)
        if observed is not None:
            one_hot &= observed.reshape(-1, 1)
        return one_hot[self._there].astype(jnp.float32)

    @property
    def _there(self) -> Bool[np.ndarray, "columns levels"]:
        """The levels that each column has."""
        return np.arange(max(self.levels)) < np.asarray(self.levels)[:, None]

    def _by_column(self, outputs: Outputs) -> Float[Array, "columns levels"]:
        there = self._there
        padded = jnp.full(there.shape, -jnp.inf, outputs.dtype)
        return padded.at[np.nonzero(there)].set(outputs)
