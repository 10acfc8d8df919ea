"""The evidence lower bound, with a KL weight that can be warmed up, free bits, and a capacity."""

import jax.numpy as jnp
from jaxtyping import PyTree

from logvar.errors import LogvarError
from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Moment,
    Objective,
    Scalar,
    averaged,
    draws,
    risen,
    samples_setting,
)
from logvar.registry import setting


class ELBO(Objective):
    """−E[log p(x | z)] + β·KL(q ‖ p), with warm-up of β, free bits, or a capacity for the KL.

    With `capacity` C the loss is −E[log p(x | z)] + γ·|KL − C(t)| instead, where C(t) rises
    linearly from 0 to C over the warm-up (Burgess et al. 2018, arXiv 1804.03599).

    Args:
        beta: weight of the KL (Higgins et al. 2017); 1 is the ELBO.
        warmup: epochs over which β, or the capacity, rises linearly from 0 (Bowman et al. 2016).
        cycles: how often that is done: each cycle is a warm-up and as many epochs at the full
            value, then the next starts from 0 (Fu et al. 2019, arXiv 1903.10145).
        free_bits: nats of KL in each group (each latent, if the KL has one per latent), averaged
            over the batch, that are not penalized (Kingma et al. 2016, arXiv 1606.04934); 0 is off.
        capacity: nats of KL in all, averaged over the batch, that the KL is held to; 0 is off.
        gamma: weight of the distance to the capacity, which takes the place of β.
        analytic_kl: use the closed-form KL if there is one, instead of the samples.
        samples: draws of z for each example and step.

    Raises:
        LogvarError: a capacity with free bits or with β, or cycles without a warm-up.
    """

    beta: float = setting(1.0, help="weight of the KL", at_least=0)
    warmup: float = setting(0.0, help="epochs over which β or the capacity rises", at_least=0)
    free_bits: float = setting(0.0, help="nats of KL per latent that cost nothing more", at_least=0)
    analytic_kl: bool = setting(True, help="KL in closed form; false: by the samples of z")
    samples: int = samples_setting(1)
    cycles: int = setting(1, help="how often β is warmed up", at_least=1)
    capacity: float = setting(0.0, help="nats that the KL is held to; 0 is off", at_least=0)
    gamma: float = setting(1000.0, help="with a capacity: weight of |KL − capacity|", at_least=0)

    def __check_init__(self) -> None:
        if self.cycles > 1 and not self.warmup:
            raise LogvarError(
                f"elbo(cycles={self.cycles}) has no warm-up to repeat: give its length in epochs, "
                f"elbo(warmup=10, cycles={self.cycles})"
            )
        if self.capacity and self.free_bits:
            raise LogvarError(
                f"elbo got capacity={self.capacity:g} and free_bits={self.free_bits:g}, which pull "
                "the KL to two places: give one of them"
            )
        if self.capacity and self.beta != 1:
            raise LogvarError(
                f"elbo got capacity={self.capacity:g} and beta={self.beta:g}: with a capacity the "
                f"weight is gamma, elbo(capacity={self.capacity:g}, gamma={self.beta:g})"
            )

    @property
    def averages_rows(self) -> bool:
        return not (self.free_bits or self.capacity)

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        each = draws(model, batch, noise).terms(self.analytic_kl)
        mean = averaged(each, batch.weights)
        plain = jnp.sum(mean.kl)
        # The bits are free per group and batch; max(KL, λ) gives no gradient below λ.
        charged = jnp.sum(jnp.maximum(mean.kl, self.free_bits))
        kl = jnp.where(self.free_bits > 0, charged, plain)
        risen = self._risen(moment).astype(plain.dtype)
        off = self.gamma * jnp.abs(plain - self.capacity * risen)
        penalty = jnp.where(self.capacity > 0, off, self.beta * risen * kl)
        return penalty - mean.log_likelihood, mean

    def beta_at(self, moment: Moment) -> Scalar:
        """Return β of the next step."""
        return self.beta * self._risen(moment)

    def _risen(self, moment: Moment) -> Scalar:
        """Return the share of its value that β or the capacity has at the next step."""
        if self.cycles > 1:
            step = jnp.asarray(moment.step, jnp.float32)
            warmup_steps = self.warmup * jnp.asarray(moment.steps_per_epoch, jnp.float32)
            length = 2 * jnp.maximum(warmup_steps, 1.0)
            into = step - length * jnp.minimum(jnp.floor(step / length), self.cycles - 1.0)
            moment = moment._replace(step=into)
        return risen(self.warmup, moment)

    @property
    def settled_after(self) -> float:
        return float((2 * self.cycles - 1) * self.warmup)

    def unsettled(self, epochs: int) -> str:
        what, value = ("the capacity", self.capacity) if self.capacity else ("β", self.beta)
        unit = " nats" if self.capacity else ""
        within = epochs - 2 * self.warmup * (epochs // (2 * self.warmup))
        reached = value * min(within / self.warmup, 1.0)
        if self.cycles == 1:
            return (
                f"the warm-up of {what} takes {self.warmup:g} epochs and training ends after "
                f"{epochs}: {what} reaches {reached:.3g}{unit}"
            )
        return (
            f"the {self.cycles} cycles of {what} take {self.settled_after:g} epochs and training "
            f"ends after {epochs}, in cycle {int(epochs // (2 * self.warmup)) + 1}, where {what} "
            f"is {reached:.3g}{unit}"
        )
