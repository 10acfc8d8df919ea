"""The figures measured on each trained model, on rows not used for training."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from logvar.backend.sparse import as_arrays
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.distributions.multivariate import StandardNormal
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.summary import active_latents
from logvar.models.base import Code
from logvar.models.batch import Batch
from logvar.models.heads import scale_head
from logvar.models.vae import VAEModel
from logvar.objectives import Moment, Objective
from logvar.posteriors.diagonal import Diagonal
from logvar.randomness import Purpose, row_key, row_noise, stream
from logvar.scales import Scale
from logvar.study.arms import slope_mismatch
from logvar.training.state import partition

DRAWS = 16
"""Draws of ε per row to measure the noise of gradients."""
ROWS = 32
"""Rows to measure gradients and curvature on."""


class Measured(NamedTuple):
    """The figures of one model; densities are in nats per example."""

    test_elbo: float
    test_log_likelihood: float
    test_reconstruction: float
    test_kl: float
    active_units: int
    raw_low: float
    raw_median: float
    raw_high: float
    sigma_low: float
    sigma_median: float
    sigma_high: float
    gradient_noise: float
    """The variance over ε of ∂loss/∂r, averaged over rows and latents."""
    gradient_noise_predicted: float
    """2d²(1 − σ²)² with a closed-form KL, 2d² with a sampled one, for a Gaussian posterior at its
    optimum (docs/why-log-variance.md). Here and below, NaN unless the posterior is diagonal and the
    prior standard."""
    curvature: float
    """∂²loss/∂r², averaged over rows and latents."""
    curvature_predicted: float
    """2d², the Fisher information of r."""
    gradient_share: float
    """The raw outputs' share of the squared norm of the whole gradient."""
    slope_mismatch: float
    """The root mean square of log(matched step in log σ / reference's step)."""


def measure(
    model: VAEModel,
    reference: Scale,
    rows: np.ndarray | Examples,
    preparation: Preparation,
    objective: Objective,
    *,
    seed: int,
    importance_samples: int,
    analytic_kl: bool,
) -> tuple[Measured, Float[np.ndarray, "rows"]]:
    """Return the figures of a model, and the ELBO of each row.

    Args:
        model: the trained model.
        reference: the scale it is compared with.
        rows: test rows.
        preparation: how they become inputs.
        objective: the objective that was maximized.
        seed: the seed of the evaluation's noise; the same for paired runs.
        importance_samples: per row, for the log-likelihood.
        analytic_kl: whether the objective's KL was in closed form.
    """
    rows = examples_of(rows)
    each = elbo_terms(model, rows, preparation, seed)
    likelihood = importance_log_likelihood(model, rows, preparation, seed, importance_samples)
    raw = each.raw
    at = np.quantile(raw, (0.05, 0.5, 0.95))
    sigma = np.sort(np.asarray(model.scale.sigma(at.astype(np.float32))))
    seen = _gradients(
        *partition(model),
        objective,
        preparation,
        analytic_kl,
        jax.tree.map(jnp.asarray, as_arrays(rows.stored[:ROWS])),
        jnp.asarray(rows.words[:ROWS]),
        jnp.asarray(seed, jnp.int32),  # an array, so that another seed compiles nothing
    )
    with np.errstate(invalid="ignore"):
        mismatch = slope_mismatch(model.scale, reference, raw)
    figures = Measured(
        test_elbo=_mean(each.elbo),
        test_log_likelihood=_mean(likelihood.log_likelihood),
        test_reconstruction=_mean(each.log_likelihood),
        test_kl=_mean(each.kl.sum(-1)),
        active_units=int(np.sum(active_latents(each.mean))),
        raw_low=float(at[0]),
        raw_median=float(at[1]),
        raw_high=float(at[2]),
        sigma_low=float(sigma[0]),
        sigma_median=float(sigma[1]),
        sigma_high=float(sigma[2]),
        **{name: float(value) for name, value in seen._asdict().items()},
        slope_mismatch=float(np.sqrt(np.nanmean(np.square(mismatch)))),
    )
    return figures, each.elbo


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


class _Gradients(NamedTuple):
    gradient_noise: Array
    gradient_noise_predicted: Array
    curvature: Array
    curvature_predicted: Array
    gradient_share: Array | float


@eqx.filter_jit
def _gradients(
    params: PyTree,
    static: Any,
    objective: Objective,
    preparation: Preparation,
    analytic_kl: bool,
    rows: Batch,
    words: Array,
    seed: Int[Array, ""],
) -> _Gradients:
    model: VAEModel = eqx.combine(params, static)
    keys = jax.vmap(lambda word: row_key(seed, Purpose.BINARIZATION, word))(words)
    x = jax.vmap(preparation.batch)(rows, keys)
    codes = jax.vmap(model.encode)(x)
    prior, like, raw = model.prior_given(), model.noise_like(), codes["raw"]
    eps = jax.vmap(lambda word: row_noise(seed, word, DRAWS, like))(words)

    def loss(raw: Array, code: Code, x: Batch, eps: PyTree) -> Array:
        return -model.terms(x, code | {"raw": raw}, eps, prior, analytic_kl).elbo

    def of_row(code: Code, x: Batch, eps: PyTree) -> tuple[Array, Array]:
        raw = code["raw"]
        draws = jax.vmap(lambda e: jax.grad(loss)(raw, code, x, e))(eps)
        average = jax.grad(lambda r: jnp.mean(jax.vmap(lambda e: loss(r, code, x, e))(eps)))
        # Twice in reverse, because convolutions define no forward derivative.
        _, transposed = jax.vjp(average, raw)
        bends = jax.vmap(lambda basis: jnp.vdot(transposed(basis)[0], basis))
        return jnp.var(draws, axis=0, ddof=1), bends(jnp.eye(len(raw)))

    noise, curvature = jax.vmap(of_row)(codes, x, eps)
    d = model.scale.slope(raw)
    rest = jnp.square(1 - model.scale.variance(raw)) if analytic_kl else 1.0
    diagonal = isinstance(model.posterior, Diagonal) and isinstance(prior, StandardNormal)
    # The predictions hold for a diagonal posterior under N(0, I), and for no other pair.
    fisher = 2 * jnp.square(d) if diagonal else jnp.full_like(d, jnp.nan)
    return _Gradients(
        jnp.mean(noise),
        jnp.mean(fisher * rest),
        jnp.mean(curvature),
        jnp.mean(fisher),
        _share(params, static, objective, x, eps),
    )


def _share(
    params: PyTree, static: Any, objective: Objective, x: Batch, eps: PyTree
) -> Array | float:
    """Return the share of the raw outputs' columns in the squared norm of the gradient."""
    model: VAEModel = eqx.combine(params, static)
    head = scale_head(model)
    if head is None:
        return jnp.asarray(jnp.nan)
    n = len(x.x)
    batch = dataclasses.replace(x, weight=jnp.ones(n))
    few = jax.tree.map(lambda leaf: leaf[:, : objective.samples], eps)
    # A step long after any warm-up.
    late = jnp.asarray(1 << 30)
    key = stream(0, Purpose.OBJECTIVE)
    extras = objective.extras(model.latent_dim, key)  # a member's own are not kept
    moment = Moment(late, late, jnp.asarray(n), jnp.asarray(1), key, extras)

    def loss(params: PyTree) -> Array:
        return objective(eqx.combine(params, static), batch, few, moment)[0]

    gradient = jax.grad(loss)(params)
    total = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))
    ours = sum(jnp.sum(jnp.square(leaf)) for leaf in head.raw_of(gradient))
    return ours / total
