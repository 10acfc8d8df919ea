"""The variational Rényi bound."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from logvar.errors import LogvarError
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
from logvar.objectives.importance import log_mean
from logvar.registry import setting


class Renyi(Objective):
    """−1/(1 − α)·log (1/k)·Σ (p(x, z)/q(z | x))^(1−α) (Li & Turner 2016, arXiv 1602.02311).

    α = 0 is IWAE; α → 1 is the ELBO. Below 0 the estimate is dominated by the best draw.

    Args:
        alpha: the order, any number but 1.
        samples: k.

    Raises:
        LogvarError: α is 1, where the formula is 0/0.
    """

    alpha: float = setting(0.5, help="the order: 0 is IWAE; not 1", above=-math.inf, below=math.inf)
    samples: int = samples_setting(10)

    def __check_init__(self) -> None:
        if self.alpha == 1:
            raise LogvarError(
                f"renyi(alpha=1) is the ELBO, and its formula is 0/0: use elbo(analytic_kl=false, "
                f"samples={self.samples}), or another alpha"
            )

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(analytic_kl=False)
        mean = jnp.mean(each.elbo, axis=1, keepdims=True)
        power = 1 - self.alpha
        bound = mean[:, 0] + _log_mean_exp(power * (each.elbo - mean)) / power
        return -average(bound, batch.weights), averaged(each, batch.weights)


def _log_mean_exp(t: Float[Array, "batch samples"]) -> PerExample:
    """Return log (1/k)·Σ eᵗ, to the last digits where all t are small, as they are near α = 1."""
    near = jnp.max(jnp.abs(t), axis=1, keepdims=True) < 1
    small = jnp.log1p(jnp.mean(jnp.expm1(jnp.where(near, t, 0.0)), axis=1))
    return jnp.where(near[:, 0], small, log_mean(t))
