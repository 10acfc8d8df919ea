"""The variational Rényi bound."""

import math

import jax.numpy as jnp
from jaxtyping import PyTree

from logvar.errors import LogvarError
from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Moment,
    Objective,
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

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(analytic_kl=False)
        # Around the mean, so that near α = 1 little is divided by little.
        mean = jnp.mean(each.elbo, axis=1, keepdims=True)
        power = 1 - self.alpha
        bound = mean[:, 0] + log_mean(power * (each.elbo - mean)) / power
        return -average(bound, batch.weights), averaged(each, batch.weights)
