"""The evidence lower bound, with a KL weight that can be warmed up, and free bits."""

import jax.numpy as jnp
from jaxtyping import PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import Moment, Objective, Scalar, averaged, draws, samples_setting
from logvar.registry import setting


class ELBO(Objective):
    """−E[log p(x | z)] + β·KL(q ‖ p), with warm-up of β and free bits.

    Args:
        beta: weight of the KL (Higgins et al. 2017); 1 is the ELBO.
        warmup: epochs over which β rises linearly from 0 (Bowman et al. 2016).
        free_bits: nats of KL in each group (each latent, if the KL has one per latent), averaged
            over the batch, that are not penalized (Kingma et al. 2016, arXiv 1606.04934); 0 is off.
        analytic_kl: use the closed-form KL if there is one, instead of the samples.
        samples: draws of z for each example and step.
    """

    beta: float = setting(1.0, help="weight of the KL", at_least=0)
    warmup: float = setting(0.0, help="epochs over which β rises from 0", at_least=0)
    free_bits: float = setting(0.0, help="nats of KL per latent that cost nothing more", at_least=0)
    analytic_kl: bool = setting(True, help="KL in closed form; false: by the samples of z")
    samples: int = samples_setting(1)

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(self.analytic_kl)
        mean = averaged(each, batch.weights)
        # The bits are free per group and batch; max(KL, λ) gives no gradient below λ.
        charged = jnp.sum(jnp.maximum(mean.kl, self.free_bits))
        kl = jnp.where(self.free_bits > 0, charged, jnp.sum(mean.kl))
        return self.beta_at(moment) * kl - mean.log_likelihood, mean

    def beta_at(self, moment: Moment) -> Scalar:
        """Return β of the next step."""
        warmup_steps = self.warmup * jnp.asarray(moment.steps_per_epoch, jnp.float32)
        progress = (jnp.asarray(moment.step, jnp.float32) + 1) / jnp.maximum(warmup_steps, 1.0)
        return self.beta * jnp.where(self.warmup > 0, jnp.minimum(progress, 1.0), 1.0)
