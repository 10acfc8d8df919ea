"""The ELBO of each row, and of a held-out set on the device while training."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from logvar.backend.compiling import host_int
from logvar.backend.ops import optimized
from logvar.data.order import padded_size
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import BLOCK, in_blocks
from logvar.model import Model
from logvar.objectives import Terms, terms
from logvar.randomness import Purpose, row_key, row_noise, row_words


class _Task(NamedTuple):
    """What a block of rows is evaluated under."""

    model: Model
    preparation: Preparation
    seed: Int[Array, ""]
    analytic_kl: bool
    n_samples: int


class RowTerms(NamedTuple):
    """The ELBO's terms of each row, with its posterior."""

    log_likelihood: np.ndarray
    """(rows,) mean over the samples of log p(x | z), nats."""
    kl: np.ndarray
    """(rows, latent) KL of each latent, nats."""
    mean: np.ndarray
    """(rows, latent) posterior means."""
    raw: np.ndarray
    """(rows, latent) raw scale outputs."""

    @property
    def elbo(self) -> np.ndarray:
        """(rows,) nats per example at β = 1."""
        return self.log_likelihood - self.kl.sum(-1)


def elbo_terms(
    model: Model,
    rows: np.ndarray,
    preparation: Preparation,
    seed: int,
    *,
    n_samples: int = 1,
    analytic_kl: bool = True,
    eps: np.ndarray | None = None,
) -> RowTerms:
    """The ELBO's terms of each row; noise is a function of (seed, the row's bytes), or `eps`.

    Args:
        model: the model.
        rows: stored rows (rows, *shape).
        preparation: how rows become inputs.
        seed: the seed of the noise and of dynamic binarization.
        n_samples: draws of z per row.
        analytic_kl: closed form, or the single-sample estimate.
        eps: noise to use instead, (rows, samples, latent).
    """
    task = _Task(model, preparation, host_int(seed), analytic_kl, n_samples)
    words = row_words(rows)
    if eps is None:
        return in_blocks(_keyed_block, task, rows, words)
    return in_blocks(_given_block, task, rows, words, eps)


def _keyed_block(task: _Task, rows: Array, words: Array) -> RowTerms:
    return jax.vmap(lambda row, word: _row(task, row, word, None))(rows, words)


def _given_block(task: _Task, rows: Array, words: Array, eps: Array) -> RowTerms:
    return jax.vmap(lambda row, word, e: _row(task, row, word, e))(rows, words, eps)


def _row(task: _Task, row: Array, words: Array, eps: Array | None) -> Any:
    x = task.preparation(row, row_key(task.seed, Purpose.BINARIZATION, words))
    mean, raw = task.model.encode(x)
    if eps is None:
        eps = row_noise(task.seed, words, task.n_samples, mean.shape[0])
    model, analytic_kl = task.model, task.analytic_kl
    each = jax.vmap(lambda e: terms(model, x, (mean, raw), e, analytic_kl))(eps)
    averaged = jax.tree.map(lambda value: jnp.mean(value, axis=0), each)
    inside_the_block: Any = (averaged.log_likelihood, averaged.kl, mean, raw)
    return RowTerms(*inside_the_block)


_LEAST_BLOCK = 32


class HeldOut(NamedTuple):
    """A held-out set on the device, in blocks, with a weight of 0 for padding.

    Padding in a block is computed as well: up to 128 rows are one block of 32, 64 or 128, and more
    are blocks of equal size, a multiple of 16. Empty blocks that follow these are skipped.
    """

    rows: Array
    words: Array
    weight: Float[Array, "blocks block"]

    @classmethod
    def of(cls, rows: np.ndarray) -> "HeldOut":
        """Pad and move a held-out set to the device."""
        n = len(rows)
        filled = -(-n // BLOCK)
        block = padded_size(n, 0, _LEAST_BLOCK) if filled == 1 else -(-n // (16 * filled)) * 16
        blocks = padded_size(filled, block * rows[:1].nbytes, 1)
        index = np.arange(blocks * block)
        taken = np.where(index < n, index, 0)
        words = row_words(rows)[taken].reshape(blocks, block, 2)
        stacked = rows[taken].reshape(blocks, block, *rows.shape[1:])
        weight = (index < n).astype(np.float32).reshape(blocks, block)
        return cls(*jax.device_put((stacked, words, weight)))  # jnp.asarray would compile


def held_out_rows(
    params: PyTree, static: Any, held_out: HeldOut, preparation: Preparation, seed: Int[Array, ""]
) -> tuple[Terms, Float[Array, "blocks block latent"]]:
    """The mean terms over a held-out set, and the raw scale outputs of each row.

    One sample per row, closed-form KL, the same noise every time: epochs differ by the model alone.
    """
    task = _Task(eqx.combine(params, static), preparation, seed, True, 1)

    def block(rows_words_weight: tuple[Array, Array, Array]) -> tuple[Terms, Any]:
        rows, words, weight = rows_words_weight
        out = _keyed_block(task, rows, words)
        return Terms(jnp.dot(weight, out.log_likelihood), weight @ out.kl), out.raw

    nothing = jax.tree.map(
        lambda shape: jnp.zeros(shape.shape, shape.dtype),
        jax.eval_shape(block, jax.tree.map(lambda array: array[0], tuple(held_out))),
    )

    def block_with_rows(rows_words_weight: tuple[Array, Array, Array]) -> tuple[Terms, Any]:
        has_rows = rows_words_weight[2][0] > 0
        return lax.cond(has_rows, optimized(block), lambda _: nothing, rows_words_weight)

    # A single block always has rows.
    each = block_with_rows if len(held_out.weight) > 1 else optimized(block)
    sums, raw = lax.map(each, tuple(held_out))
    count = jnp.sum(held_out.weight)
    return jax.tree.map(lambda value: jnp.sum(value, axis=0) / count, sums), raw
