"""The importance-weighted bound and three estimators of its gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.nn import logsumexp, softmax
from jaxtyping import Array, Float, PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Drawn,
    Draws,
    Moment,
    Objective,
    Scalar,
    average,
    averaged,
    draws,
    samples_setting,
    scored,
)
from logvar.registry import setting

GRADIENTS = ("total", "stl", "dreg")
"""total: of the bound itself. stl: without the score of q (sticking the landing, Roeder et al.
2017, arXiv 1703.09194), unbiased for one sample only. dreg: doubly reparameterized (Tucker et al.
2018, arXiv 1810.04152), unbiased for any number."""


class ImportanceWeighted(Objective):
    """−log (1/k)·Σ p(x, z)/q(z | x) with k = samples (Burda et al. 2016, arXiv 1509.00519).

    Args:
        samples: k; the bound rises with it.
        gradient: the estimator, one of `GRADIENTS`. All three have the same loss.
    """

    samples: int = samples_setting(5)
    gradient: str = setting("total", help="which estimator of its gradient", choices=GRADIENTS)

    @property
    def needs_reparameterization(self) -> bool:
        return self.gradient != "total"

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        if self.gradient == "total":
            each = draws(model, batch, noise).terms(analytic_kl=False)
            return -average(log_mean(each.elbo), batch.weights), averaged(each, batch.weights)
        return _path_derivative(model, batch, noise, twice=self.gradient == "dreg")


def log_mean(log_weights: Float[Array, "*batch samples"]) -> Float[Array, "*batch"]:
    """Return log (1/k)·Σ w over the last axis."""
    return logsumexp(log_weights, axis=-1) - jnp.log(float(log_weights.shape[-1]))


def _path_derivative(
    model: Model, batch: Batch, noise: PyTree, *, twice: bool
) -> tuple[Scalar, Terms]:
    """Return the bound with the encoder's gradient through z alone: log q is held constant.

    A VampPrior's encoder also enters through the prior, and that path keeps its gradient.
    """
    drawn = Drawn.of(model, batch, noise)
    z = jax.vmap(model.draw)(drawn.codes, drawn.noise)
    held = drawn._replace(codes=stop_gradient(drawn.codes))
    bound = _doubly_reparameterized if twice else _loss
    loss, each = bound(model, held, z, batch.weights)
    return loss, averaged(each.terms(analytic_kl=False), batch.weights)


def _loss(
    model: Model, held: Drawn, z: Float[Array, "draws latent"], weight: Float[Array, "batch"]
) -> tuple[Scalar, Draws]:
    """Return the loss as a function of z and of the model."""
    each = _at(model, held, z, weight)
    return -average(log_mean(each.terms(analytic_kl=False).elbo), weight), each


def _at(
    model: Model, held: Drawn, z: Float[Array, "draws latent"], weight: Float[Array, "batch"]
) -> Draws:
    prior = model.prior_given()
    trace = jax.vmap(lambda e, c, z: model.trace_at(e, c, z, prior))
    return scored(model, held, trace(held.examples, held.codes, z), weight)


def _doubly_reparameterized(
    model: Model, held: Drawn, z: Float[Array, "draws latent"], weight: Float[Array, "batch"]
) -> tuple[Scalar, Draws]:
    """Return the loss, with ∂loss/∂z of each draw multiplied by its normalized weight w̃.

    The log of a mean contributes one w̃, so the path through z has w̃² in all, and everything else
    w̃ (Tucker et al. 2018, equation 8). One backward pass gives both gradients; the loss is then a
    linear function with these slopes and the value of the bound.
    """
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def log_weights(z: Array, weights: PyTree) -> tuple[Float[Array, "batch samples"], Draws]:
        each = _at(eqx.combine(weights, rest), held, z, weight)
        return each.terms(analytic_kl=False).elbo, each

    at = stop_gradient((z, weights))
    log_w, pull, each = jax.vjp(log_weights, *at, has_aux=True)
    normalized = softmax(log_w, axis=1)
    slopes = pull(-normalized * (weight / jnp.sum(weight))[:, None])
    through_z = slopes[0] * normalized.reshape(-1, 1)
    linear = jnp.vdot(through_z, z) + sum(
        jnp.vdot(slope, leaf)
        for slope, leaf in zip(*map(jax.tree.leaves, (slopes[1], weights)), strict=True)
    )
    value = -average(log_mean(log_w), weight)
    return value + (linear - stop_gradient(linear)), each
