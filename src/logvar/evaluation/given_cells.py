"""Draws of x given some of its cells, by adaptive importance sampling of z.

The target is p(z | x_obs) ∝ p(z)·p(x_obs | z). Draws come from a mixture of the prior, of
q(z | x_obs) and of Student t that are fitted to the weighted draws of the round before (Cappé et
al. 2008, Stat. Comput. 18). The weights of a fit are tempered until enough draws count. Where even
so hardly any does, as for cells far outside the training rows, the components are those around the
target's modes instead, to which Newton's method climbs from draws of the round.

The last round draws from the fit of which most draws counted, and alone is kept. Whatever the fit,
its weights are p(z)·p(x_obs | z) over the mixture's density. The prior's share bounds each by
10·p(x_obs | z)/p(x_obs), so an encoder that never saw a hole, whose q(z | x_obs) is then poor, does
no harm. A label that the model may give is summed out, and drawn given z at the end.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp as host_logsumexp

from logvar.backend.compiling import host_int
from logvar.errors import LogvarError
from logvar.evaluation.blocks import in_blocks
from logvar.evaluation.modes import around_modes
from logvar.evaluation.proposals import (
    Students,
    effective_size,
    fitted_students,
    normalized,
    systematic,
    tempered,
)
from logvar.models.batch import Batch
from logvar.models.labelled import LabelledVAE
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, host_stream, noise, stream

ROUND = 4096
"""Draws of z in a round that fits the Student t, and at least as many in the last one."""
MOST_DRAWS = 2**17
"""Draws of z at most, whatever the number of rows."""
_ROUNDS = 12
_ENOUGH = 0.5
"""The fit ends when this share of a round counts effectively, or grows no more."""
_FAR = 1 / 16
"""A fit of which less of a round counts effectively gives way to modes."""
_STARTS = 8
"""Climbs that start at draws of the prior, at draws of q, and twice as many at the best draws."""
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
    students, share, climbed = None, 0.0, False
    best, most = None, 0.0
    for number in range(_ROUNDS if model.prior.support == "real" else 0):
        z, log_weights = _round(task, number, ROUND, students, seed)
        before, share = share, effective_size(log_weights) / ROUND
        if share > most:
            best, most = students, share
        if share > _ENOUGH or (number > 2 and before > 0.1 and share < 1.05 * before):
            break
        generator = host_stream(seed, Purpose.GIVEN, number, 1)
        enough = max(ROUND / 16, min(ROUND / 4, 10.0 * z.shape[1]))
        weights = normalized(tempered(log_weights, enough))
        if number > 0 and share < _FAR and not climbed:
            of_prior, of_encoder = z[:_STARTS], z[round(ROUND * _OF_PRIOR) :][:_STARTS]
            chosen = z[systematic(weights, 2 * _STARTS, generator)]
            starts = np.concatenate([chosen, of_prior, of_encoder])
            spread = z[: round(ROUND * _OF_PRIOR)].std(axis=0)
            students = around_modes(partial(_log_joint, task), starts, spread)
            climbed = True
        else:
            students = fitted_students(z, weights, generator)
    size = min(MOST_DRAWS, max(ROUND, 1 << (2 * n - 1).bit_length()))
    z, log_weights = _round(task, _ROUNDS, size, best, seed)
    generator = host_stream(seed, Purpose.GIVEN, _ROUNDS, 1)
    chosen = systematic(normalized(log_weights), n, generator)
    log_probability = float(host_logsumexp(log_weights) - np.log(size))

    def x(start: int, stop: int) -> Float[np.ndarray, "rows *shape"]:
        some = z[chosen[start:stop]].astype(np.float32)
        indices = np.arange(start, stop, dtype=np.uint32)
        return in_blocks(_means if mean else _drawn, task, some, indices)

    return GivenCells(x, effective_size(log_weights), size, log_probability)


def _round(
    task: _Task, number: int, size: int, students: Students | None, seed: int
) -> tuple[Float[np.ndarray, "draws latent"], Float[np.ndarray, "draws"]]:
    """Return draws of z from the mixture of proposals, and their log-weights."""
    of_prior = _OF_PRIOR if students is not None else 0.5
    of_encoder = _OF_ENCODER if students is not None else 0.5
    generator = host_stream(seed, Purpose.GIVEN, number, 0)
    first = round(size * of_prior)
    second = round(size * of_encoder)
    task = task._replace(round=host_int(number))
    z = in_blocks(_from_prior, task, np.arange(first, dtype=np.uint32))
    others = in_blocks(_from_encoder, task, np.arange(first, first + second, dtype=np.uint32))
    parts = [z, others]
    if students is not None:
        parts.append(students.draw(size - first - second, generator).astype(np.float32))
    z = np.concatenate(parts)
    log_p, log_q, log_likelihood = (
        each.astype(np.float64) for each in in_blocks(_densities, task, z)
    )
    # At cells that it never saw an encoder may be beyond float32: then its draws count nothing.
    beyond = np.isnan(log_q)
    log_q[beyond] = -np.inf
    beyond[:first] = beyond[first + second :] = False
    wide = np.where(np.isfinite(z).all(axis=1, keepdims=True), z, 0).astype(np.float64)
    # The very numbers of draws, so that the mixture is that from which they come.
    proposals = [np.log(first / size) + log_p, np.log(second / size) + log_q]
    if students is not None:
        rest = np.log((size - first - second) / size)
        proposals.append(rest + students.log_prob(wide))
    log_weights = log_p + log_likelihood - host_logsumexp(proposals, axis=0)
    log_weights[np.isnan(log_weights) | beyond] = -np.inf
    if not np.isfinite(log_weights).any():
        raise LogvarError(
            "the given cells are so improbable under this model that float32 rounds it to 0: "
            "give values within the range of the training rows, or fewer cells"
        )
    return wide, log_weights


def _from_prior(task: _Task, indices: Array) -> Array:
    key = stream(task.seed, Purpose.GIVEN, task.round)
    condition = task.row.condition

    def of_draw(index: Array) -> Array:
        z = task.model.sample_latents(jax.random.fold_in(key, index), condition)
        return z[: task.model.latent_dim]

    return jax.vmap(of_draw)(indices)


def _from_encoder(task: _Task, indices: Array) -> Array:
    model, key = task.model, stream(task.seed, Purpose.GIVEN, task.round)
    code = model.encode(task.seen)

    def of_draw(index: Array) -> Array:
        z = model.draw(code, noise(model.noise_like(), jax.random.fold_in(key, index)))
        return z[: model.latent_dim]

    return jax.vmap(of_draw)(indices)


def _at(task: _Task, z: Array) -> tuple[Array, Array, Array]:
    """Return log p(z, y), log q(z, y | x_obs) and log p(x_obs | z, y) for each label y that the
    model may give; a model without labels has one, which is empty."""
    model, row = task.model, task.row
    code, prior = model.encode(task.seen), model.prior_given()

    def of_label(label: Array) -> tuple[Array, Array, Array]:
        trace = model.trace_at(row, code, jnp.concatenate([z, label]), prior)
        log_likelihood = model.likelihood.total(row.x, trace.outputs, row.observed)
        return jnp.sum(trace.log_p), jnp.sum(trace.log_q), log_likelihood

    return jax.vmap(of_label)(_labels(model, z))


def _labels(model: VAEModel, z: Array) -> Float[Array, "labels size"]:
    classes = model.classes if isinstance(model, LabelledVAE) else 0
    return jnp.eye(classes, dtype=z.dtype) if classes else jnp.zeros((1, 0), z.dtype)


def _densities(task: _Task, z: Array) -> tuple[Array, Array, Array]:
    """Return log p(z), log q(z | x_obs) and log p(x_obs | z) of each draw."""

    def of_draw(z: Array) -> tuple[Array, Array, Array]:
        log_p, log_q, log_likelihood = _at(task, z)
        of_z = logsumexp(log_p)
        return of_z, logsumexp(log_q), logsumexp(log_p + log_likelihood) - of_z

    return jax.vmap(of_draw)(z)


def _log_joint(
    task: _Task, z: Float[np.ndarray, "draws latent"]
) -> tuple[Float[np.ndarray, "draws"], Float[np.ndarray, "draws latent"]]:
    """Return log p(z, x_obs) and its gradient at each z, on the host."""
    value, gradient = in_blocks(_log_joints, task, z.astype(np.float32))
    return value.astype(np.float64), gradient.astype(np.float64)


def _log_joints(task: _Task, z: Array) -> tuple[Array, Array]:
    def log_joint(z: Array) -> Array:
        log_p, _, log_likelihood = _at(task, z)
        return logsumexp(log_p + log_likelihood)

    return jax.vmap(jax.value_and_grad(log_joint))(z)


def _with_labels(task: _Task, z: Array, indices: Array) -> Array:
    """Return each z with a draw from p(y | z, x_obs) after it, if the model has labels."""

    def of_draw(z: Array, index: Array) -> Array:
        log_p, _, log_likelihood = _at(task, z)
        key = stream(task.seed, Purpose.SAMPLE, index, 2)
        label = jax.random.categorical(key, log_p + log_likelihood)
        return jnp.concatenate([z, _labels(task.model, z)[label]])

    return jax.vmap(of_draw)(z, indices)


def _drawn(task: _Task, z: Array, indices: Array) -> Array:
    z = _with_labels(task, z, indices)
    outputs = jax.vmap(lambda one: task.model.decode(one, task.row.condition))(z)
    keys = jax.vmap(lambda i: stream(task.seed, Purpose.SAMPLE, i, 1))(indices)
    return jax.vmap(task.model.likelihood.sample)(outputs, keys)


def _means(task: _Task, z: Array, indices: Array) -> Array:
    z = _with_labels(task, z, indices)
    return jax.vmap(lambda one: task.model.mean(one, task.row.condition))(z)
