"""Draws of x given some of its cells, by adaptive importance sampling of z.

The target is p(z | x_obs) ∝ p(z)·p(x_obs | z). Draws come from a mixture of the prior, of
q(z | x_obs) and of Normals that are fitted to the weighted draws of the round before (Cappé et al.
2008, Stat. Comput. 18). The prior's share bounds every weight by 10·p(x_obs | z)/p(x_obs), so an
encoder that never saw a hole, whose q(z | x_obs) is then poor, does no harm. Only the last round's
draws are kept.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp

from logvar.backend.compiling import host_int
from logvar.errors import LogvarError
from logvar.evaluation.blocks import in_blocks
from logvar.evaluation.proposals import (
    Normals,
    effective_size,
    fitted_normals,
    normalized,
    systematic,
    tempered,
)
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, host_stream, noise, stream

ROUND = 4096
"""Draws of z in a round that fits the Normals, and at least as many in the last one."""
MOST_DRAWS = 2**17
"""Draws of z at most, whatever the number of rows."""
_ROUNDS = 12
_ENOUGH = 0.5
"""The fit ends when this share of a round counts effectively, or grows no more."""
_OF_PRIOR, _OF_ENCODER = 0.1, 0.1


class GivenCells(NamedTuple):
    """Rows that have the given cells, in the model's units."""

    x: Callable[[int, int], Float[np.ndarray, "rows *shape"]]
    """Return draws from p(x | x_obs), or means, from one number to another; the given cells are
    drawn, too, and to be replaced."""
    effective_samples: float
    """(Σ w)²/Σ w² of the draws of z."""
    draws: int
    """The number of draws of z."""
    log_probability: float
    """log p(x_obs), nats."""


class _Task(NamedTuple):
    model: Any
    seen: Batch
    """The row as the encoder reads it, without an axis of rows."""
    row: Batch
    """The same with cells outside the training range as they are."""
    seed: Int[Array, ""]
    round: Int[Array, ""]


def draw_given(
    model: VAEModel, seen: Batch, row: Batch, n: int, seed: int, *, mean: bool = False
) -> GivenCells:
    """Draw x given the observed cells of one prepared row.

    Every number is a function of (seed, row, n).

    Args:
        model: the model.
        seen: the row as the encoder reads it.
        row: the row as it is scored.
        n: how many draws of x.
        seed: the seed of the draws.
        mean: whether to return E[x | z] instead of a draw of x.

    Raises:
        LogvarError: the cells have no probability that float32 can tell from 0.
    """
    task = _Task(model, seen, row, host_int(seed), host_int(0))
    normals, share, log_weights = None, 0.0, np.zeros(0)
    for number in range(_ROUNDS if model.prior.support == "real" else 0):
        z, log_weights = _round(task, number, ROUND, normals, seed)
        before, share = share, effective_size(log_weights) / ROUND
        if share > _ENOUGH or (number > 2 and before > 0.1 and share < 1.05 * before):
            break
        enough = max(ROUND / 16, min(ROUND / 4, 10.0 * z.shape[1]))
        weights = normalized(tempered(log_weights, enough))
        normals = fitted_normals(z, weights, host_stream(seed, Purpose.GIVEN, number, 1))
    size = min(MOST_DRAWS, max(ROUND, 1 << (2 * n - 1).bit_length()))
    z, log_weights = _round(task, _ROUNDS, size, normals, seed)
    generator = host_stream(seed, Purpose.GIVEN, _ROUNDS, 1)
    chosen = systematic(normalized(log_weights), n, generator)
    log_probability = float(logsumexp(log_weights) - np.log(size))

    def x(start: int, stop: int) -> Float[np.ndarray, "rows *shape"]:
        some = z[chosen[start:stop]].astype(np.float32)
        indices = np.arange(start, stop, dtype=np.uint32)
        return in_blocks(_means if mean else _drawn, task, some, indices)

    return GivenCells(x, effective_size(log_weights), size, log_probability)


def _round(
    task: _Task, number: int, size: int, normals: Normals | None, seed: int
) -> tuple[Float[np.ndarray, "draws latent"], Float[np.ndarray, "draws"]]:
    """Return draws of z from the mixture of proposals, and their log-weights."""
    of_prior = _OF_PRIOR if normals is not None else 0.5
    of_encoder = _OF_ENCODER if normals is not None else 0.5
    generator = host_stream(seed, Purpose.GIVEN, number, 0)
    first = round(size * of_prior)
    second = round(size * of_encoder)
    task = task._replace(round=host_int(number))
    z = in_blocks(_from_prior, task, np.arange(first, dtype=np.uint32))
    others = in_blocks(_from_encoder, task, np.arange(first, first + second, dtype=np.uint32))
    parts = [z, others]
    if normals is not None:
        parts.append(normals.draw(size - first - second, generator).astype(np.float32))
    z = np.concatenate(parts)
    log_p, log_q, log_likelihood = (
        each.astype(np.float64) for each in in_blocks(_densities, task, z)
    )
    wide = z.astype(np.float64)
    # The very numbers of draws, so that the mixture is that from which they come.
    proposals = [np.log(first / size) + log_p, np.log(second / size) + log_q]
    if normals is not None:
        rest = np.log((size - first - second) / size)
        proposals.append(rest + normals.log_prob(wide))
    log_weights = log_p + log_likelihood - logsumexp(proposals, axis=0)
    log_weights[np.isnan(log_weights)] = -np.inf
    if not np.isfinite(log_weights).any():
        raise LogvarError(
            "the given cells are so improbable under this model that float32 rounds it to 0: "
            "give values within the range of the training rows, or fewer cells"
        )
    return wide, log_weights


def _from_prior(task: _Task, indices: Array) -> Array:
    key = stream(task.seed, Purpose.GIVEN, task.round)
    condition = task.row.condition
    return jax.vmap(lambda i: task.model.sample_latents(jax.random.fold_in(key, i), condition))(
        indices
    )


def _from_encoder(task: _Task, indices: Array) -> Array:
    model, key = task.model, stream(task.seed, Purpose.GIVEN, task.round)
    code = model.encode(task.seen)
    return jax.vmap(
        lambda i: model.draw(code, noise(model.noise_like(), jax.random.fold_in(key, i)))
    )(indices)


def _densities(task: _Task, z: Array) -> tuple[Array, Array, Array]:
    """Return log p(z), log q(z | x_obs) and log p(x_obs | z) of each draw."""
    model, row = task.model, task.row
    code, prior = model.encode(task.seen), model.prior_given()

    def of_draw(z: Array) -> tuple[Array, Array, Array]:
        trace = model.trace_at(row, code, z, prior)
        log_likelihood = model.likelihood.total(row.x, trace.outputs, row.observed)
        return jnp.sum(trace.log_p), jnp.sum(trace.log_q), log_likelihood

    return jax.vmap(of_draw)(z)


def _drawn(task: _Task, z: Array, indices: Array) -> Array:
    outputs = jax.vmap(lambda one: task.model.decode(one, task.row.condition))(z)
    keys = jax.vmap(lambda i: stream(task.seed, Purpose.SAMPLE, i, 1))(indices)
    return jax.vmap(task.model.likelihood.sample)(outputs, keys)


def _means(task: _Task, z: Array, indices: Array) -> Array:
    return jax.vmap(lambda one: task.model.mean(one, task.row.condition))(z)
