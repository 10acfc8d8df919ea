"""The evidence lower bound of the rows that fit best, if anomalies are among the training rows."""

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Moment,
    Objective,
    PerExample,
    Scalar,
    average,
    averaged,
    draws,
    samples_setting,
)
from logvar.registry import setting

_ROUNDING = 1e-5
"""Relative: three tenths of ten rows are three rows in float32, too."""


class Trimmed(Objective):
    """−ELBO averaged over a batch without its least probable rows (Shen & Sanghavi 2019).

    From the epoch `after` on, the rows with the lowest ELBO in each batch have weight 0: as many as
    fit into `fraction` of the batch's weight. Anomalies among the training rows then no longer
    shape the model, and so they stay improbable under it. Choose `fraction` a little above the
    share of anomalies that you expect. A noise in closed form still counts every row.

    Args:
        fraction: share of each batch's weight that is left out; 0 leaves out nothing.
        after: epochs in which every row counts, so that the model first learns what is usual.
        analytic_kl: use the closed-form KL if there is one, instead of the samples.
        samples: draws of z for each example and step.
    """

    fraction: float = setting(0.1, help="share of a batch that is left out", at_least=0, below=1)
    after: float = setting(5.0, help="epochs in which every row counts", at_least=0)
    analytic_kl: bool = setting(True, help="KL in closed form; false: by the samples of z")
    samples: int = samples_setting(1)

    @property
    def warmup(self) -> float:
        return self.after

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(self.analytic_kl)
        bound = jnp.mean(each.elbo, axis=1)
        started = jnp.asarray(moment.epoch, jnp.float32) >= self.after
        fraction = jnp.where(started, self.fraction, 0.0)
        kept = jnp.where(lowest(bound, batch.weights, fraction), 0.0, batch.weights)
        return -average(bound, kept), averaged(each, batch.weights)


def lowest(bound: PerExample, weight: PerExample, fraction: Scalar | float) -> Bool[Array, "batch"]:
    """Return which rows have the lowest bounds: those that fit into this fraction of the weight.

    Example:
        >>> bound, weight = jnp.array([3.0, 1.0, 2.0, 9.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
        >>> lowest(bound, weight, 0.4).tolist()
        [False, True, False, False]
    """
    order = jnp.argsort(stop_gradient(bound))
    reached = jnp.cumsum(weight[order])
    inside = reached <= fraction * (1 + _ROUNDING) * reached[-1]
    return jnp.zeros(bound.shape, bool).at[order].set(inside & (weight[order] > 0))
