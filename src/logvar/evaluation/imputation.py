"""Missing cells given the observed ones, and each observed cell given the others.

Both need p(z | the observed cells), which importance weights w = p(x_obs, z)/q(z | x_obs) of draws
from the encoder give in expectation, however rough q is (Mattei & Frellsen 2019, arXiv 1812.02633).
Weights are added up a few draws at a time, so memory does not grow with the number of draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import logsumexp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from logvar.backend.compiling import host_int
from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.evaluation.importance import AT_ONCE, NUMBERS_AT_ONCE
from logvar.evaluation.outside import Wide, in_dtype, in_float64
from logvar.models.base import Code, Trace
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, noise, row_key


class Completed(NamedTuple):
    """Estimates of all cells of each row, given its observed cells, in the model's units."""

    mean: Float[np.ndarray, "rows *shape"]
    """E[x | x_obs]; for codes of categories, the most probable one."""
    drawn: Float[np.ndarray, "rows draws *shape"]
    """Draws from p(x | x_obs)."""
    effective_samples: Float[np.ndarray, "rows"]
    """(Σ w)²/Σ w²: how many equally weighted draws the weighted ones are worth."""


class _Task(NamedTuple):
    model: Any
    preparation: Preparation
    seed: Int[Array, ""]
    n_samples: Int[Array, ""]
    draws: int


class _Sums(NamedTuple):
    """Sums over the draws of a row, in units of e^largest."""

    largest: Float[Array, ""]
    weight: Float[Array, ""]
    squared: Float[Array, ""]
    expectation: PyTree
    best: Float[Array, "draws"]
    """The largest log w + Gumbel noise so far: its draw of z has probability w̃."""
    z: PyTree
    """That draw of z, for each of the draws of x."""


def complete(
    model: VAEModel,
    examples: Examples,
    preparation: Preparation,
    seed: int,
    n_samples: int,
    draws: int = 0,
) -> Completed:
    """Return the mean and draws of each row's cells given its observed cells.

    E[x | x_obs] ≈ Σ w̃·E[x | z] by self-normalized importance sampling. A draw of x takes one z with
    probability w̃ and then x from p(x | z). Everything is a function of (seed, the row's bytes).
    Observed cells outside the training range weigh as they are, in float64.

    Args:
        model: the model.
        examples: rows with missing cells.
        preparation: how they become inputs, with `missing`.
        seed: the seed of the noise.
        n_samples: draws of z for each row.
        draws: draws of x for each row.
    """
    task = _Task(model, preparation, host_int(seed), host_int(n_samples), draws)
    found = Completed(*in_blocks(_completed, task, examples.stored, examples.words))
    if len(examples.outside):
        wide = Wide.of(model), task._replace(model=None)
        again = in_float64(_completed_outside, wide, examples, examples.outside)
        found = Completed(*map(np.array, found))  # copies, to be written to
        for values, those in zip(found, again, strict=True):
            values[examples.outside] = those
    return found


def cell_log_likelihood(
    model: VAEModel, examples: Examples, preparation: Preparation, seed: int, n_samples: int
) -> Float[np.ndarray, "rows ..."]:
    """Return log p(x_j | the other observed cells) of each cell, nats; NaN where it is missing.

    Without cell j, the weight of a draw is w/p(x_j | z). So
    p(x_j | x_others) ≈ Σ w / Σ (w/p(x_j | z)) over draws of z from q(z | x). Rows outside the
    training range are scored as they are, in float64.
    """
    task = _Task(model, preparation, host_int(seed), host_int(n_samples), 0)
    found = in_blocks(_cells, task, examples.stored, examples.words).astype(np.float64)
    if len(examples.outside):
        wide = Wide.of(model), task._replace(model=None)
        found[examples.outside] = in_float64(_cells_outside, wide, examples, examples.outside)
    return found


def _completed(task: _Task, rows: Batch, words: Array) -> tuple[Array, Array, Array]:
    def of_row(row: Batch, word: Array) -> tuple[Array, Array, Array]:
        example = _example(task, row, word)
        return _completed_of(task, example, task.model.encode(example), word, _at_once(rows))

    return jax.vmap(of_row)(rows, words)


def _completed_outside(
    wide: tuple[Wide, _Task], seen: Batch, words: Array, actual: Batch
) -> tuple[Array, Array, Array]:
    task = wide[1]._replace(model=wide[0].model)

    def of_row(seen: Batch, word: Array, actual: Batch) -> tuple[Array, Array, Array]:
        code = wide[0].encode(_example(task, seen, word))
        return _completed_of(task, _example(task, actual, word), code, word, _at_once(seen))

    return jax.vmap(of_row)(seen, words, actual)


def _completed_of(
    task: _Task, example: Batch, code: Code, word: Array, at_once: int
) -> tuple[Array, Array, Array]:
    """Return the mean of a row's cells, draws of them, and its effective samples."""
    model = task.model
    likelihood = model.likelihood.given(example.x, example.observed)
    trace, log_weights = _draws(task, example, code, word)
    gumbel, of_x = jax.random.split(row_key(task.seed, Purpose.IMPUTATION, word))
    shapes = jax.eval_shape(lambda: trace(jnp.zeros((), jnp.int32)))
    expected = jax.eval_shape(likelihood.expectation, shapes.outputs)
    start = _Sums(
        jnp.asarray(-jnp.inf),
        jnp.zeros(()),
        jnp.zeros(()),
        jnp.zeros(expected.shape, expected.dtype),
        jnp.full(task.draws, -jnp.inf),
        jnp.zeros((task.draws, *shapes.z.shape), shapes.z.dtype),
    )

    def add(group: Array, sums: _Sums) -> _Sums:
        j = group * at_once + jnp.arange(at_once, dtype=jnp.int32)
        found = jax.vmap(trace)(j)
        log_w = jnp.where(j < task.n_samples, log_weights(found), -jnp.inf)
        largest = jnp.maximum(sums.largest, jnp.max(log_w))
        # The first group has a finite weight, so `largest` is finite wherever it is subtracted.
        before, w = jnp.exp(sums.largest - largest), jnp.exp(log_w - largest)
        each = jax.vmap(likelihood.expectation)(found.outputs)
        expectation = before * sums.expectation + jnp.tensordot(w, each, axes=1)
        keys = jax.vmap(lambda index: jax.random.fold_in(gumbel, index))(j)
        noisy = log_w[:, None] + jax.vmap(lambda k: jax.random.gumbel(k, (task.draws,)))(keys)
        winner = jnp.argmax(noisy, axis=0)
        better = jnp.max(noisy, axis=0) > sums.best
        z = jnp.where(better[:, None], found.z[winner], sums.z)
        best = jnp.maximum(sums.best, jnp.max(noisy, axis=0))
        return _Sums(
            largest,
            before * sums.weight + jnp.sum(w),
            before**2 * sums.squared + jnp.sum(w**2),
            expectation,
            best,
            z,
        )

    groups = (task.n_samples + at_once - 1) // at_once
    sums = lax.fori_loop(0, groups, add, start)
    mean = likelihood.most_probable(sums.expectation / sums.weight)
    drawn = jnp.zeros((0, *mean.shape), mean.dtype)
    if task.draws:
        keys = jax.random.split(of_x, task.draws)
        drawn = jax.vmap(lambda z, k: likelihood.sample(model.decode(z, example.condition), k))(
            sums.z, keys
        )
    return mean, drawn, sums.weight**2 / sums.squared


def _cells(task: _Task, rows: Batch, words: Array) -> Array:
    def of_row(row: Batch, word: Array) -> Array:
        example = _example(task, row, word)
        return _cells_of(task, example, task.model.encode(example), word, _at_once(rows))

    return jax.vmap(of_row)(rows, words)


def _cells_outside(wide: tuple[Wide, _Task], seen: Batch, words: Array, actual: Batch) -> Array:
    task = wide[1]._replace(model=wide[0].model)

    def of_row(seen: Batch, word: Array, actual: Batch) -> Array:
        code = wide[0].encode(_example(task, seen, word))
        return _cells_of(task, _example(task, actual, word), code, word, _at_once(seen))

    return jax.vmap(of_row)(seen, words, actual)


def _cells_of(task: _Task, example: Batch, code: Code, word: Array, at_once: int) -> Array:
    """Return log p of each cell of a row given the others."""
    likelihood = task.model.likelihood.given(example.x, example.observed)
    trace, log_weights = _draws(task, example, code, word)

    def of_draw(found: Trace) -> Array:
        return likelihood.log_prob(example.x, found.outputs)

    def add(group: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        j = group * at_once + jnp.arange(at_once, dtype=jnp.int32)
        found = jax.vmap(trace)(j)
        log_w = jnp.where(j < task.n_samples, log_weights(found), -jnp.inf)
        each = jax.vmap(of_draw)(found)
        without = log_w.reshape(-1, *(1,) * (each.ndim - 1)) - each
        return (
            jnp.logaddexp(sums[0], logsumexp(log_w)),
            jnp.logaddexp(sums[1], logsumexp(without, axis=0)),
        )

    shape = jax.eval_shape(lambda: of_draw(trace(jnp.zeros((), jnp.int32)))).shape
    start = jnp.asarray(-jnp.inf), jnp.full(shape, -jnp.inf)
    groups = (task.n_samples + at_once - 1) // at_once
    whole, without = lax.fori_loop(0, groups, add, start)
    if example.observed is None:
        return whole - without
    return jnp.where(likelihood.cells(example.observed), whole - without, jnp.nan)


def _at_once(rows: Batch) -> int:
    return max(1, min(AT_ONCE, NUMBERS_AT_ONCE // rows.x.size))


def _example(task: _Task, row: Batch, word: Array) -> Batch:
    return task.preparation.batch(row, row_key(task.seed, Purpose.BINARIZATION, word))


def _draws(
    task: _Task, example: Batch, code: Code, word: Array
) -> tuple[Callable[[Array], Trace], Callable[[Trace], Float[Array, "draws"]]]:
    """Return draw j of z as a function of j, and the log-weights of draws."""
    model, prior = task.model, task.model.prior_given()
    key: PRNGKeyArray = row_key(task.seed, Purpose.IMPORTANCE, word)

    def trace(j: Array) -> Trace:
        eps = in_dtype(noise(model.noise_like(), jax.random.fold_in(key, j)), example.x.dtype)
        return model.trace(example, code, eps, prior)

    def log_weights(found: Trace) -> Float[Array, "draws"]:
        log_likelihood = jax.vmap(
            lambda outputs: model.likelihood.total(example.x, outputs, example.observed)
        )(found.outputs)
        return log_likelihood - jnp.sum(found.kl(False), axis=-1)

    return trace, log_weights
