"""Importance-weighted log-likelihood in bounded memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import logsumexp
from jaxtyping import Array, Int, PRNGKeyArray

from logvar.backend.compiling import host_int
from logvar.backend.sparse import Rows
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.evaluation.outside import Wide, in_dtype, in_float64, to_repeat
from logvar.models.base import Code
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, noise, row_key

AT_ONCE = 20
"""Samples of each row in one pass, at most. Noise costs more per pass than per number, and with
this many the matrix products have a good size. One at a time takes 1.9 times as long."""
NUMBERS_AT_ONCE = 2**18
"""Decoder outputs in one pass, at most: 1 MB, for any k and number of rows. A CPU runs one pass per
core, at most eight. If a single sample of a block has more outputs, it runs alone."""


class RowLikelihood(NamedTuple):
    """The estimate and its error for each row."""

    log_likelihood: np.ndarray
    """(rows,) log (1/k)·Σ p(x, z)/q(z | x), nats, float64."""
    monte_carlo_error: np.ndarray
    """(rows,) its standard error from the k samples, by the delta method, nats."""


class _Task(NamedTuple):
    model: Any
    preparation: Preparation
    seed: Int[Array, ""]
    n_samples: Int[Array, ""]


def importance_log_likelihood(
    model: VAEModel,
    rows: Rows | Examples,
    preparation: Preparation,
    seed: int,
    n_samples: int,
) -> RowLikelihood:
    """Estimate log p(x) of each row with k importance samples (Burda et al. 2016).

    A block of rows is encoded once; then samples are drawn a few at a time and added up, so memory
    does not grow with k or with the number of rows. Sample j of a row is a function of
    (seed, the row's bytes, j): more samples extend the same sequence. Rows outside the training
    range are scored in float64.
    """
    count = host_int(n_samples)
    task = _Task(model, preparation, host_int(seed), count)
    examples = examples_of(rows)
    found = in_blocks(_block, task, examples.stored, examples.words)
    result = RowLikelihood(*(array.astype(np.float64) for array in found))
    again = to_repeat(examples, result.log_likelihood)
    if len(again):
        arguments = Wide.of(model), task._replace(model=None)
        for array, wide in zip(
            result, in_float64(_outside, arguments, examples, again), strict=True
        ):
            array[again] = wide
    return result


def _block(task: _Task, rows: Batch, words: Array) -> RowLikelihood:
    x = _prepared(task, rows, words)
    return _estimate(task, *_sums(task, x, jax.vmap(task.model.encode)(x), words))


def _outside(wide: tuple[Wide, _Task], seen: Batch, words: Array, actual: Batch) -> RowLikelihood:
    model, task = wide[0].model, wide[1]
    codes = jax.vmap(wide[0].encode)(_prepared(task, seen, words))
    x = _prepared(task, actual, words)
    return _estimate(task, *_sums(task._replace(model=model), x, codes, words))


def _prepared(task: _Task, rows: Batch, words: Array) -> Batch:
    keys = jax.vmap(lambda word: row_key(task.seed, Purpose.BINARIZATION, word))(words)
    return jax.vmap(task.preparation.batch)(rows, keys)


def _sums(task: _Task, x: Batch, codes: Code, words: Array) -> tuple[Array, Array]:
    """Return (log Σ w, log Σ w²) over the importance weights w of each row."""
    keys = jax.vmap(lambda word: row_key(task.seed, Purpose.IMPORTANCE, word))(words)
    model, prior = task.model, task.model.prior_given()
    at_once = max(1, min(AT_ONCE, NUMBERS_AT_ONCE // x.x.size))

    def log_weight(x: Batch, code: Code, key: PRNGKeyArray, j: Array) -> Array:
        eps = in_dtype(noise(model.noise_like(), jax.random.fold_in(key, j)), x.x.dtype)
        return model.log_weight(x, code, eps, prior)

    def add_samples(group: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        j = group * at_once + jnp.arange(at_once, dtype=jnp.int32)
        of_row = jax.vmap(log_weight, in_axes=(None, None, None, 0))
        log_weights = jax.vmap(of_row, in_axes=(0, 0, 0, None))(x, codes, keys, j)
        log_weights = jnp.where(j < task.n_samples, log_weights, -jnp.inf)
        added = logsumexp(log_weights, axis=1), logsumexp(2 * log_weights, axis=1)
        return jnp.logaddexp(sums[0], added[0]), jnp.logaddexp(sums[1], added[1])

    empty = jnp.full(len(x.x), -jnp.inf)
    groups = (task.n_samples + at_once - 1) // at_once
    return lax.fori_loop(0, groups, add_samples, (empty, empty))


def _estimate(task: _Task, log_sum: Array, log_sum_of_squares: Array) -> RowLikelihood:
    k = task.n_samples.astype(log_sum.dtype)
    # Var[log mean w] ≈ (E[w²]/E[w]² − 1)/k.
    relative_square = jnp.exp(log_sum_of_squares - 2 * log_sum) * k
    error = jnp.sqrt(jnp.maximum(relative_square - 1, 0.0) / jnp.maximum(k - 1, 1.0))
    inside_the_block: Any = (log_sum - jnp.log(k), error)
    return RowLikelihood(*inside_the_block)
