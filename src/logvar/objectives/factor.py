"""FactorVAE: a critic tells z from shuffled z, and so measures the total correlation."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.networks.layers import Dense, dense_layers
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
from logvar.objectives.comparing import check_real, shares
from logvar.posteriors.base import Posterior
from logvar.priors.base import PriorSpec
from logvar.registry import setting

Points = Float[Array, "batch latent"]


class Critic(eqx.Module):
    """z ↦ log of the odds that its latents belong together: dense layers with leaky ReLU."""

    hidden: list[Dense]
    head: Dense

    def __init__(self, latent_dim: int, widths: tuple[int, ...], *, key: PRNGKeyArray):
        sizes = (latent_dim, *widths, 1)
        *self.hidden, self.head = dense_layers(sizes, key=key, initialization="lecun")

    def __call__(self, z: Float[Array, "latent"]) -> Scalar:
        for layer in self.hidden:
            z = jax.nn.leaky_relu(layer(z), 0.2)
        return self.head(z)[0]


class Factor(Objective):
    """−ELBO + γ·E[log D(z)/(1 − D(z))] (FactorVAE, Kim & Mnih 2018, arXiv 1802.05983).

    The critic D learns to tell z of the batch from points whose latents are each drawn from the
    batch by themselves; then its log-odds estimate the total correlation KL(q(z) ‖ Π q(zᵢ)). It
    has an Adam of its own (b1 = 0.5, b2 = 0.9) and takes one step with each step of the model. Both
    see the same batch, and latents are drawn with replacement, in proportion to the weights of
    the rows; the paper takes a second batch, and permutes.

    Args:
        gamma: weight of the total correlation; the paper tries 1 to 100.
        hidden: widths of the critic's layers; the paper has six of 1,000.
        critic_rate: the critic's learning rate.
        samples: draws of z for each example and step.
    """

    compares_rows: ClassVar[bool] = True
    extras_optimizer: ClassVar[str] = "adam(b1=0.5, b2=0.9)"
    gamma: float = setting(10.0, help="weight of the total correlation", at_least=0)
    hidden: tuple[int, ...] = setting((256, 256, 256), help="widths of the critic", at_least=1)
    critic_rate: float = setting(1e-4, help="learning rate of the critic", above=0)
    samples: int = samples_setting(1)

    @property
    def needs_reparameterization(self) -> bool:
        return True

    @property
    def analytic_kl(self) -> bool:
        return True

    @property
    def extras_rate(self) -> Any:
        return self.critic_rate

    def extras(self, latent_dim: int, key: PRNGKeyArray) -> Critic:
        return Critic(latent_dim, self.hidden, key=key)

    def check(self, posterior: Posterior, prior: PriorSpec) -> None:
        check_real("factor", posterior)

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        weight = batch.weights
        each = draws(model, batch, noise)
        mean = averaged(each.terms(analytic_kl=True), weight)
        z = jnp.moveaxis(each.trace.z, 1, 0)
        critic: Critic = moment.extras
        held = stop_gradient(critic)
        total_correlation = average(jnp.mean(jax.vmap(jax.vmap(held))(z), axis=0), weight)
        # The critic's own loss has the value 0 here, and gives its weights their gradient.
        keys = jax.random.split(moment.key, len(z))
        of_draw = jax.vmap(lambda z, key: critic_loss(critic, z, weight, key))
        of_critic = jnp.mean(of_draw(stop_gradient(z), keys))
        loss = self.gamma * total_correlation - mean.elbo
        return loss + (of_critic - stop_gradient(of_critic)), mean


def critic_loss(critic: Critic, z: Points, weight: PerExample, key: PRNGKeyArray) -> Scalar:
    """Return the cross-entropy of the critic: z is whole, z with each latent by itself is not."""
    whole = average(jax.nn.softplus(-jax.vmap(critic)(z)), weight)
    shuffled = jax.nn.softplus(jax.vmap(critic)(each_by_itself(z, weight, key)))
    return 0.5 * (whole + jnp.mean(shuffled))


def each_by_itself(z: Points, weight: PerExample, key: PRNGKeyArray) -> Points:
    """Return as many points, each of whose latents is that of a row of its own.

    Rows are drawn in proportion to their weights, so a row of weight 0 never is.
    """
    uniform = jax.random.uniform(key, z.shape, weight.dtype)
    ends = jnp.cumsum(shares(weight))
    # Rounding must not reach past the last row that counts.
    last = len(weight) - 1 - jnp.argmax(weight[::-1] > 0)
    rows = jnp.searchsorted(ends, uniform, side="right")
    return jnp.take_along_axis(z, jnp.minimum(rows, last.astype(rows.dtype)), axis=0)
