"""The ELBO of each row, and of a held-out set on the device during training."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import host_int
from logvar.backend.ops import optimized
from logvar.backend.sparse import Rows, as_arrays
from logvar.data.examples import Examples, examples_of
from logvar.data.order import padded_size
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import BLOCK, in_blocks
from logvar.evaluation.outside import Wide, in_dtype, in_float64, to_repeat
from logvar.models.base import Code, Terms
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, row_key, row_noise

_FARTHEST_HELD_OUT = 1e12
"""In standard deviations. Held-out values beyond this count as if they were here: in training their
squares are summed in float32, which ends at 3e38, and such a row outweighs all others anyway."""


class _Task(NamedTuple):
    """The constants of an evaluation, shared by all blocks of rows."""

    model: Any
    preparation: Preparation
    seed: Int[Array, ""]
    analytic_kl: bool
    n_samples: int


class RowTerms(NamedTuple):
    """The terms of each row's ELBO, with its posterior."""

    log_likelihood: np.ndarray
    """(rows,) log p(x | z) averaged over the samples, nats, float64."""
    kl: np.ndarray
    """(rows, groups) KL in nats: one group per latent if densities factor, otherwise one in all."""
    mean: np.ndarray
    """(rows, latent) each row's embedding: the posterior mean."""
    raw: np.ndarray
    """(rows, latent) raw scale outputs."""
    elbo: np.ndarray
    """(rows,) nats per example at β = 1, float64."""


class _Block(NamedTuple):
    """The results of a program for some rows."""

    log_likelihood: Array
    kl: Array
    mean: Array
    raw: Array


@np.errstate(invalid="ignore", over="ignore")  # non-finite values are computed again in float64
def elbo_terms(
    model: VAEModel,
    rows: Rows | Examples,
    preparation: Preparation,
    seed: int,
    *,
    n_samples: int = 1,
    analytic_kl: bool = True,
    eps: PyTree = None,
) -> RowTerms:
    """Compute the terms of each row's ELBO; noise is a function of (seed, row's bytes), or `eps`.

    Args:
        model: the model.
        rows: as the model reads them; rows outside the training range are scored in float64.
        preparation: how rows become inputs.
        seed: the seed of the noise and of dynamic binarization.
        n_samples: draws of z per row.
        analytic_kl: compute the KL in closed form instead of from the samples.
        eps: noise to use instead; each leaf is (rows, samples, …).
    """
    task = _Task(model, preparation, host_int(seed), analytic_kl, n_samples)
    examples = examples_of(rows)
    given = () if eps is None else (eps,)
    block = _keyed_block if eps is None else _given_block
    found = in_blocks(block, task, examples.stored, examples.words, *given)
    elbo = (found.log_likelihood - found.kl.sum(-1)).astype(np.float64)
    result = RowTerms(
        found.log_likelihood.astype(np.float64), found.kl, found.mean, found.raw, elbo
    )
    again = to_repeat(examples, elbo)
    if not len(again):
        return result
    wide = in_float64(
        _keyed_outside if eps is None else _given_outside,
        (Wide.of(model), task._replace(model=None)),
        examples,
        again,
        *(noise[again] for noise in given),
    )
    result = result._replace(kl=result.kl.astype(np.float64))
    result.log_likelihood[again] = wide.log_likelihood
    result.kl[again] = wide.kl
    result.elbo[again] = wide.log_likelihood - wide.kl.sum(-1)
    return result


def _keyed_block(task: _Task, rows: Batch, words: Array, seen: Array | None = None) -> _Block:
    prior = task.model.prior_given()
    if seen is None:
        return jax.vmap(lambda row, word: _row(task, prior, row, word, None))(rows, words)
    of_row = jax.vmap(lambda row, word, copy: _row(task, prior, row, word, None, copy))
    return of_row(rows, words, seen)


def _given_block(task: _Task, rows: Batch, words: Array, eps: PyTree) -> _Block:
    prior = task.model.prior_given()
    return jax.vmap(lambda row, word, e: _row(task, prior, row, word, e))(rows, words, eps)


def _row(
    task: _Task, prior: Any, row: Batch, words: Array, eps: PyTree, seen: Array | None = None
) -> _Block:
    """Compute one row; if `seen` is given, the encoder reads it instead of the row."""
    key = row_key(task.seed, Purpose.BINARIZATION, words)
    x = read = task.preparation.batch(row, key)
    if seen is not None:
        read = task.preparation.batch(dataclasses.replace(row, x=seen), key)
    code = task.model.encode(read)
    return _averaged(task, task.model, prior, x, code, words, eps)


def _keyed_outside(wide: tuple[Wide, _Task], seen: Batch, words: Array, actual: Batch) -> _Block:
    prior = wide[0].model.prior_given()
    of_row = jax.vmap(lambda s, w, x: _row_outside(*wide, prior, s, w, x, None))
    return of_row(seen, words, actual)


def _given_outside(
    wide: tuple[Wide, _Task], seen: Batch, words: Array, actual: Batch, eps: PyTree
) -> _Block:
    prior = wide[0].model.prior_given()
    of_row = jax.vmap(lambda s, w, x, e: _row_outside(*wide, prior, s, w, x, e))
    return of_row(seen, words, actual, eps)


def _row_outside(
    wide: Wide, task: _Task, prior: Any, seen: Batch, words: Array, actual: Batch, eps: PyTree
) -> _Block:
    key = row_key(task.seed, Purpose.BINARIZATION, words)
    code = wide.encode(task.preparation.batch(seen, key))
    x = task.preparation.batch(actual, key)
    return _averaged(task, wide.model, prior, x, code, words, eps)


def _averaged(
    task: _Task, model: VAEModel, prior: Any, x: Batch, code: Code, words: Array, eps: PyTree
) -> _Block:
    if eps is None:
        eps = row_noise(task.seed, words, task.n_samples, model.noise_like())
    eps = in_dtype(eps, x.x.dtype)
    each = jax.vmap(lambda e: model.terms(x, code, e, prior, task.analytic_kl))(eps)
    averaged = jax.tree.map(lambda value: jnp.mean(value, axis=0), each)
    raw = model.representative(code)["raw"]
    return _Block(averaged.log_likelihood, averaged.kl, model.embedding(code), raw)


_LEAST_BLOCK = 32


class HeldOut(NamedTuple):
    """A held-out set on the device, in blocks, with sample weights; padding has weight 0.

    Padding inside a block is computed as well. Up to 128 rows are one block of 32, 64 or 128;
    more rows are blocks of equal size, a multiple of 16. Empty blocks after them are skipped.
    """

    rows: Batch
    words: Array
    weight: Float[Array, "blocks block"]
    seen: Array | None = None
    """The encoder's input, if some rows lie outside the training range."""

    @classmethod
    def of(cls, rows: Rows | Examples) -> "HeldOut":
        """Pad a held-out set and move it to the device."""
        examples = examples_of(rows)
        n = len(examples)
        filled = -(-n // BLOCK)
        block = padded_size(n, 0, _LEAST_BLOCK) if filled == 1 else -(-n // (16 * filled)) * 16
        blocks = padded_size(filled, block * examples.values[:1].nbytes, 1)
        index = np.arange(blocks * block)
        taken = np.where(index < n, index, 0)
        words = examples.words[taken].reshape(blocks, block, 2)
        stacked = jax.tree.map(
            lambda array: array.reshape(blocks, block, *array.shape[1:]),
            as_arrays(examples.stored[taken]),
        )
        weight = (index < n).astype(np.float32)
        if examples.weight is not None:
            weight *= examples.weight[taken]
        weight = weight.reshape(blocks, block)
        if not len(examples.outside):
            return cls(*jax.device_put((stacked, words, weight)))  # jnp.asarray would compile
        actual = np.clip(examples.as_they_are(taken), -_FARTHEST_HELD_OUT, _FARTHEST_HELD_OUT)
        actual = actual.astype(np.float32)
        seen = stacked.x
        rows = dataclasses.replace(stacked, x=actual.reshape(seen.shape))
        return cls(*jax.device_put((rows, words, weight, seen)))


def held_out_rows(
    params: PyTree,
    static: Any,
    held_out: HeldOut,
    preparation: Preparation,
    seed: Int[Array, ""],
    added: Callable[[PyTree], PyTree] | None = None,
    ours: Bool[Array, "blocks"] | None = None,
) -> tuple[Terms, Float[Array, "blocks block latent"]]:
    """Return the mean terms over a held-out set, and the raw scale outputs of each row.

    One sample per row, closed-form KL, and the same noise every time, so that epochs differ only
    by the model.

    Args:
        params: the weights.
        static: the rest of the model.
        held_out: the rows.
        preparation: how rows become inputs.
        seed: of the noise.
        added: adds the sums of several devices.
        ours: the blocks that this device computes, if there are several.
    """
    task = _Task(eqx.combine(params, static), preparation, seed, True, 1)
    count = jnp.sum(held_out.weight)
    if ours is not None:
        held_out = held_out._replace(weight=jnp.where(ours[:, None], held_out.weight, 0))

    def block(of_block: tuple[Batch, Array, Array, Array | None]) -> tuple[Terms, Any]:
        rows, words, weight, seen = of_block
        out = _keyed_block(task, rows, words, seen)
        return Terms(jnp.dot(weight, out.log_likelihood), weight @ out.kl), out.raw

    nothing = jax.tree.map(
        lambda shape: jnp.zeros(shape.shape, shape.dtype),
        jax.eval_shape(block, jax.tree.map(lambda array: array[0], tuple(held_out))),
    )

    def block_with_rows(
        of_block: tuple[Batch, Array, Array, Array | None],
    ) -> tuple[Terms, Any]:
        has_rows = jnp.any(of_block[2] > 0)
        return lax.cond(has_rows, optimized(block), lambda _: nothing, of_block)

    # A single block always has rows, so it needs no condition.
    each = block_with_rows if len(held_out.weight) > 1 else optimized(block)
    sums, raw = lax.map(each, tuple(held_out))
    sums = sums if added is None else added(sums)
    return jax.tree.map(lambda value: jnp.sum(value, axis=0) / count, sums), raw
