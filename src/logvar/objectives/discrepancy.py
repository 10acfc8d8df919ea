"""InfoVAE and WAE: the aggregate posterior is drawn to the prior by a mean discrepancy."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PyTree

from logvar.errors import LogvarError
from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Moment,
    Objective,
    PerExample,
    Scalar,
    averaged,
    draws,
    samples_setting,
)
from logvar.objectives.comparing import shares
from logvar.posteriors.base import Posterior
from logvar.priors.base import Prior, PriorSpec
from logvar.registry import setting

KERNELS = ("rbf", "imq")
Points = Float[Array, "batch latent"]


class MeanDiscrepancy(Objective):
    """−E[log p(x | z)] + β·KL(q ‖ p) + weight·MMD²(q(z), p(z)).

    MMD² = E k(z, z′) − 2 E k(z, y) + E k(y, y′) for z of the batch and as many y of the prior,
    without bias, so that it can be below 0. Kernels, with C = 2·D·bandwidth² and D latents:
    rbf, exp(−‖a − b‖²/C); imq, C/(C + ‖a − b‖²). In the letters of InfoVAE (Zhao et al. 2019,
    arXiv 1706.02262) β is 1 − α and the weight α + λ − 1; β = 0 is a WAE-MMD (Tolstikhin et al.
    2018, arXiv 1711.01558). Samples of a learned prior are held constant: it learns from the KL.

    Args:
        weight: weight of MMD², which is at most 4.
        beta: weight of the KL.
        kernel: "rbf" or "imq", whose tails are heavier.
        bandwidth: in standard deviations of the prior.
        samples: draws of z for each example and step.
    """

    compares_rows: ClassVar[bool] = True
    weight: float = setting(10.0, help="weight of MMD²", at_least=0)
    kernel: str = setting("imq", help="exp(−d²/C) or C/(C + d²)", choices=KERNELS)
    beta: float = setting(1.0, help="weight of the KL; 0 is a WAE-MMD", at_least=0)
    bandwidth: float = setting(1.0, help="of the kernel, in σ of the prior", above=0)
    samples: int = samples_setting(1)

    @property
    def needs_reparameterization(self) -> bool:
        return True

    @property
    def analytic_kl(self) -> bool:
        return True

    def check(self, posterior: Posterior, prior: PriorSpec) -> None:
        learned = not isinstance(prior, Prior) or any(map(eqx.is_array, jax.tree.leaves(prior)))
        if self.beta == 0 and learned:
            raise LogvarError(
                f"objective 'mmd(beta=0)' does not train the prior, and {type(prior).__name__} has "
                "weights to learn: use a beta above 0, or prior='standard'"
            )

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise)
        mean = averaged(each.terms(analytic_kl=True), batch.weights)
        keys = jax.vmap(lambda i: jax.random.fold_in(moment.key, i))(jnp.arange(len(batch)))
        prior = stop_gradient(jax.vmap(model.sample_latents)(keys, batch.condition))

        def of_draw(z: Points) -> Scalar:
            return self.discrepancy(z, prior.astype(z.dtype), batch.weights)

        discrepancy = jnp.mean(jax.vmap(of_draw, in_axes=1)(each.trace.z))
        penalty = self.beta * jnp.sum(mean.kl) + self.weight * discrepancy
        return penalty - mean.log_likelihood, mean

    def discrepancy(self, z: Points, y: Points, weight: PerExample) -> Scalar:
        """Return MMD² of two samples whose rows weigh the same in both."""
        share = shares(weight)
        pairs = share[:, None] * share[None, :]
        others = jnp.where(jnp.eye(len(share), dtype=bool), 0.0, pairs)
        others = others / jnp.maximum(jnp.sum(others), jnp.finfo(others.dtype).tiny)
        within = jnp.sum(others * (self._kernel(z, z) + self._kernel(y, y)))
        return within - 2 * jnp.sum(pairs * self._kernel(z, y))

    def _kernel(self, a: Points, b: Points) -> Float[Array, "batch batch"]:
        squared = jnp.sum(jnp.square(a[:, None] - b[None]), axis=-1)
        width = 2 * a.shape[1] * jnp.square(self.bandwidth)
        return jnp.exp(-squared / width) if self.kernel == "rbf" else width / (width + squared)
