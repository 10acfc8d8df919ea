"""β-TC: the KL in three parts, of which the total correlation is weighed."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import logsumexp
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
    samples_setting,
)
from logvar.objectives.comparing import check_independent
from logvar.posteriors.base import Posterior
from logvar.priors.base import PriorSpec
from logvar.registry import setting


class TotalCorrelation(Objective):
    """−E[log p(x | z)] + α·I(x; z) + β·KL(q(z) ‖ Π q(zᵢ)) + γ·KL(Π q(zᵢ) ‖ p(z)) (β-TC-VAE).

    The three are the mutual information, the total correlation and the rest of the KL, nats; with
    α = β = γ = 1 the loss is the negative ELBO. The aggregate q(z) = (1/N)·Σ q(z | x) over all N
    rows is estimated from the batch: a row's own posterior weighs 1/N and the others of the batch
    share 1 − 1/N, so its expectation over batches is q(z). That is the minibatch stratified
    sampling of Chen et al. 2018 (arXiv 1802.04942, appendix C.2), averaged over which row it treats
    apart. A batch of all rows gives q(z) itself. A step needs memory for batch² · latents numbers.

    Args:
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the rest of the KL.
        samples: draws of z for each example and step.
    """

    compares_rows: ClassVar[bool] = True
    alpha: float = setting(1.0, help="weight of the mutual information I(x; z)", at_least=0)
    beta: float = setting(6.0, help="weight of the total correlation", at_least=0)
    gamma: float = setting(1.0, help="weight of the rest of the KL", at_least=0)
    samples: int = samples_setting(1)

    @property
    def needs_reparameterization(self) -> bool:
        return True

    def check(self, posterior: Posterior, prior: PriorSpec) -> None:
        check_independent("beta-tc", posterior)

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        weight = batch.weights
        drawn = Drawn.of(model, batch, noise)
        each = decoded(model, drawn, weight)
        codes = jax.tree.map(lambda leaf: leaf[:: drawn.samples], drawn.codes)

        def of_all_rows(z: Float[Array, "latent"]) -> Float[Array, "batch latent"]:
            return jax.vmap(lambda code: model.density(code).log_prob_groups(z))(codes)

        log_q = jax.vmap(jax.vmap(of_all_rows))(each.trace.z)
        rows = jnp.asarray(moment.rows).astype(weight.dtype)
        log_weight = log_weights_of_rows(weight, rows)[:, None, :]
        joint = logsumexp(log_weight + jnp.sum(log_q, axis=-1), axis=2)
        each_latent = jnp.sum(logsumexp(log_weight[..., None] + log_q, axis=2), axis=-1)
        conditional = jnp.sum(each.trace.log_q, axis=-1)
        prior = jnp.sum(each.trace.log_p, axis=-1)
        kl = (
            self.alpha * (conditional - joint)
            + self.beta * (joint - each_latent)
            + self.gamma * (each_latent - prior)
        )
        loss = average(jnp.mean(kl - each.log_likelihood, axis=1), weight)
        return loss, averaged(each.terms(analytic_kl=False), weight)


def log_weights_of_rows(weight: PerExample, rows: Scalar) -> Float[Array, "batch batch"]:
    """Return log of how much row k of the batch counts in q(z) at a draw of row i.

    Args:
        weight: of each row of the batch; 0 for padding, whose columns are −∞.
        rows: N, the number of training rows.
    """
    sum_, count = jnp.sum(weight), jnp.sum((weight > 0).astype(weight.dtype))
    own = weight * count / (sum_ * rows)  # 1/N, if all weigh the same
    others = jnp.maximum(sum_ - weight, jnp.finfo(weight.dtype).tiny)
    of_others = ((1 - own) / others)[:, None] * weight[None, :]
    return jnp.log(jnp.where(jnp.eye(len(weight), dtype=bool), own[:, None], of_others))
