"""Importance-weighted log-likelihood in bounded memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import logsumexp
from jaxtyping import Array, Int, PRNGKeyArray

from logvar.backend.compiling import host_int
from logvar.backend.ops import standard_normal
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.model import Model
from logvar.objectives import terms
from logvar.randomness import Purpose, row_key, row_words

AT_ONCE = 20
"""Samples of each row in one pass, at most: noise costs a pass more than it costs a number, and
the matrix products are of a good size. One at a time takes 1.9 times as long."""
NUMBERS_AT_ONCE = 2**18
"""Decoder outputs in one pass, at most: 1 MB, whatever k and the number of rows, and on a CPU one
pass a core, eight at most. Where a single sample of a block has more, it goes alone."""


class RowLikelihood(NamedTuple):
    """The estimate for each row."""

    log_likelihood: np.ndarray
    """(rows,) log (1/k)·Σ p(x, z)/q(z | x), nats."""
    monte_carlo_error: np.ndarray
    """(rows,) its standard error from the k samples, by the delta method, nats."""


class _Task(NamedTuple):
    model: Model
    preparation: Preparation
    seed: Int[Array, ""]
    n_samples: Int[Array, ""]


def importance_log_likelihood(
    model: Model, rows: np.ndarray, preparation: Preparation, seed: int, n_samples: int
) -> RowLikelihood:
    """Estimate log p(x) of each row with k importance samples (Burda et al. 2016).

    A block of rows is encoded once; then some samples are taken at a time and summed on the way,
    so memory does not grow with k or with the number of rows. Sample j of a row is a function
    of (seed, the row's bytes, j): more samples extend the same sequence.
    """
    count: Any = np.asarray(n_samples)
    task = _Task(model, preparation, host_int(seed), count)
    return in_blocks(_block, task, rows, row_words(rows))


def _block(task: _Task, rows: Array, words: Array) -> RowLikelihood:
    keys = jax.vmap(lambda word: row_key(task.seed, Purpose.IMPORTANCE, word))(words)
    binarization = jax.vmap(lambda word: row_key(task.seed, Purpose.BINARIZATION, word))(words)
    x = jax.vmap(task.preparation)(rows, binarization)
    codes = jax.vmap(task.model.encode)(x)
    latent_dim = codes[0].shape[-1]
    at_once = max(1, min(AT_ONCE, NUMBERS_AT_ONCE // x.size))

    def log_weight(x: Array, code: tuple[Array, Array], key: PRNGKeyArray, j: Array) -> Array:
        eps = standard_normal(jax.random.fold_in(key, j), (latent_dim,))
        return terms(task.model, x, code, eps, analytic_kl=False).elbo

    def add_samples(group: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        j = group * at_once + jnp.arange(at_once)
        of_row = jax.vmap(log_weight, in_axes=(None, None, None, 0))
        log_weights = jax.vmap(of_row, in_axes=(0, 0, 0, None))(x, codes, keys, j)
        log_weights = jnp.where(j < task.n_samples, log_weights, -jnp.inf)
        added = logsumexp(log_weights, axis=1), logsumexp(2 * log_weights, axis=1)
        return jnp.logaddexp(sums[0], added[0]), jnp.logaddexp(sums[1], added[1])

    empty = jnp.full(len(rows), -jnp.inf)
    groups = (task.n_samples + at_once - 1) // at_once
    log_sum, log_sum_of_squares = lax.fori_loop(0, groups, add_samples, (empty, empty))
    k = task.n_samples.astype(jnp.float32)
    # Var[log mean w] ≈ (E[w²]/E[w]² − 1)/k.
    relative_square = jnp.exp(log_sum_of_squares - 2 * log_sum) * k
    error = jnp.sqrt(jnp.maximum(relative_square - 1, 0.0) / jnp.maximum(k - 1, 1.0))
    inside_the_block: Any = (log_sum - jnp.log(k), error)
    return RowLikelihood(*inside_the_block)
