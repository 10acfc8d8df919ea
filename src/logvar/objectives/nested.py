"""Three ways between the ELBO and the importance-weighted bound (Rainforth et al. 2018)."""

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Drawn,
    Moment,
    Objective,
    PerExample,
    Scalar,
    average,
    averaged,
    decoded,
    draws,
    samples_setting,
)
from logvar.objectives.importance import log_mean
from logvar.registry import setting

OUTER, INNER = 5, 10


class _OfSeveralBounds(Objective):
    """M bounds of K draws each."""

    outer: int = setting(OUTER, help="M, how many bounds are averaged", at_least=1)
    inner: int = setting(INNER, help="K, draws of z for each bound", at_least=1)

    @property  # type: ignore[misc]
    def samples(self) -> int:  # type: ignore[override]
        return self.outer * self.inner


class MultiplyImportanceWeighted(_OfSeveralBounds):
    """−(1/M)·Σ log (1/K)·Σ p(x, z)/q(z | x): the mean of M bounds of K draws each (MIWAE).

    M = 1 is IWAE, K = 1 the ELBO. More draws in a bound tighten it, and drown the encoder's
    gradient in noise; more bounds average that noise (Rainforth et al. 2018, arXiv 1802.04537).
    Mattei & Frellsen's MIWAE for missing cells is another: here that is `iwae` on rows with holes.

    Args:
        outer: M.
        inner: K.
    """

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(analytic_kl=False)
        bounds = _mean_of_bounds(each.elbo, self.outer)
        return -average(bounds, batch.weights), averaged(each, batch.weights)


class PartlyImportanceWeighted(_OfSeveralBounds):
    """The decoder learns from one bound of M·K draws, the encoder from M bounds of K (PIWAE).

    Same draws for both. The loss is that of the decoder, −log (1/MK)·Σ w. Whatever reaches it
    through the encoder's outputs for x learns from the M bounds; decoder, likelihood and prior, a
    VampPrior's encoder included, from the one (Rainforth et al. 2018, arXiv 1802.04537).

    Args:
        outer: M.
        inner: K.
    """

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        weight = batch.weights
        drawn = Drawn.of(model, batch, noise)
        held = drawn._replace(codes=stop_gradient(drawn.codes))
        of_decoder = decoded(model, held, weight).terms(analytic_kl=False)
        of_encoder = decoded(_held(model), drawn, weight).terms(analytic_kl=False)
        loss = -average(log_mean(of_decoder.elbo), weight)
        for_encoder = -average(_mean_of_bounds(of_encoder.elbo, self.outer), weight)
        return loss + (for_encoder - stop_gradient(for_encoder)), averaged(of_decoder, weight)


class CombinedImportanceWeighted(Objective):
    """−β·E[log w] − (1 − β)·log (1/k)·Σ w, with w = p(x, z)/q(z | x) (CIWAE).

    β = 1 is the ELBO by samples, β = 0 IWAE (Rainforth et al. 2018, arXiv 1802.04537).

    Args:
        beta: the share of the ELBO.
        samples: k.
    """

    beta: float = setting(
        0.5, help="the share of the ELBO; the rest is IWAE", at_least=0, at_most=1
    )
    samples: int = samples_setting(10)

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(analytic_kl=False)
        elbo, bound = jnp.mean(each.elbo, axis=1), log_mean(each.elbo)
        combined = self.beta * elbo + (1 - self.beta) * bound
        return -average(combined, batch.weights), averaged(each, batch.weights)


def _held(model: Model) -> Model:
    """Return the model with weights that pass no gradient on."""
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(stop_gradient(weights), rest)


def _mean_of_bounds(log_weights: Float[Array, "batch samples"], outer: int) -> PerExample:
    """Return the mean of so many bounds, each of successive draws."""
    return jnp.mean(log_mean(log_weights.reshape(len(log_weights), outer, -1)), axis=1)
