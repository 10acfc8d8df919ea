"""The contract of an objective, and the draws of z that every objective uses."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from logvar.backend.compiling import from_host
from logvar.models.base import Model, Terms, Trace
from logvar.models.batch import Batch
from logvar.posteriors.base import Posterior
from logvar.priors.base import PriorSpec
from logvar.registry import setting

Scalar = Float[Array, ""]
PerExample = Float[Array, "batch"]


class Moment(NamedTuple):
    """The position of a step in training."""

    step: Int[Array, ""]
    """Steps taken so far."""
    epoch: Int[Array, ""]
    """The epoch, counted from 0."""
    rows: Int[Array, ""]
    """The number of training rows."""
    steps_per_epoch: Int[Array, ""]
    key: PRNGKeyArray
    """A key for the objective's own random numbers."""
    extras: PyTree = None
    """The objective's own trainable weights, from `Objective.extras`; None if it has none."""


class Objective(eqx.Module):
    """Maps a batch to the loss that training minimizes, and to the plain terms at β = 1.

    Its numbers are inputs of compiled programs, so another β compiles nothing; none of them is
    trained. A new objective is a class with `samples` and `__call__`, and one line in the registry.
    """

    samples: eqx.AbstractVar[int]
    """Draws of z for each example and step."""

    compares_rows: ClassVar[bool] = False
    """Whether the loss compares the rows of a batch with each other, so that one is too few."""
    extras_optimizer: ClassVar[str] = "adam"
    """The optimizer of the objective's own weights, as text."""

    @property
    def needs_reparameterization(self) -> bool:
        """Whether the posterior's z must be a differentiable function of noise."""
        return False

    @property
    def averages_rows(self) -> bool:
        """Whether the loss is a weighted mean over the rows of losses that each know one row.

        The gradient of a batch is then the weighted mean of those of its parts, so a batch can be
        divided among devices. False is always safe.
        """
        return False

    @property
    def sums_out_labels(self) -> bool:
        """Whether it knows of labels that are to be learned, and sums out unknown ones."""
        return False

    @property
    def analytic_kl(self) -> bool:
        """Whether the KL is computed in closed form if there is one."""
        return False

    @property
    def warmup(self) -> float:
        """Epochs over which the loss is warmed up."""
        return 0.0

    @property
    def settled_after(self) -> float:
        """Epochs until the loss stops changing; early stopping counts from there."""
        return float(self.warmup)

    def unsettled(self, epochs: int) -> str:
        """Describe training that ends after so many epochs, before the loss stops changing."""
        return (
            f"the objective is complete after {self.settled_after:g} epochs and training ends "
            f"after {epochs}: its last stage does not begin"
        )

    @property
    def extras_rate(self) -> Any:
        """The learning rate of the objective's own weights."""
        return 1e-4

    def extras(self, latent_dim: int, key: PRNGKeyArray) -> PyTree:
        """Return the objective's own weights before the first step, such as a critic's, or None.

        A step differentiates the loss with respect to them as well and updates them with
        `extras_optimizer` at `extras_rate`. They are saved in checkpoints, but not with the model.
        """
        return None

    def check(self, posterior: Posterior, prior: PriorSpec) -> None:
        """Check that the objective can train these.

        Raises:
            LogvarError: it cannot.
        """

    @abc.abstractmethod
    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        """Return (loss, terms averaged over the batch), in nats per example.

        Args:
            model: the model.
            batch: examples with their weights: 0 for padding, otherwise the sample weight.
            noise: structured like the model's `noise_like`, each leaf (batch, samples, …).
            moment: the position in training, for schedules, and the number of rows.
        """


def samples_setting(default: int) -> Any:
    """Declare the setting for the number of draws."""
    return setting(default, help="draws of z for each example and step", at_least=1)


def risen(warmup: float | Array, moment: Moment) -> Scalar:
    """Return the share of its value that what is warmed up over so many epochs has in a step."""
    steps = warmup * jnp.asarray(moment.steps_per_epoch, jnp.float32)
    progress = (jnp.asarray(moment.step, jnp.float32) + 1) / jnp.maximum(steps, 1.0)
    return jnp.where(warmup > 0, jnp.minimum(progress, 1.0), 1.0)


def with_inputs(objective: Objective) -> Objective:
    """Return the objective with its numbers as arrays, the inputs of a compiled program."""
    return jax.tree.map(
        lambda leaf: from_host(np.float32(leaf)) if isinstance(leaf, float) else leaf, objective
    )


class Draws(NamedTuple):
    """Draws of z for a batch: each leaf (batch, samples, …)."""

    trace: Trace
    log_likelihood: Float[Array, "batch samples"]
    """log p(x | z) of each draw; a closed-form noise is the best for this batch."""
    statistic: Float[Array, "batch samples *parts"] | None

    def terms(self, analytic_kl: bool) -> Terms:
        """Return the terms of each example and draw."""
        return Terms(self.log_likelihood, self.trace.kl(analytic_kl), self.statistic)


class Drawn(NamedTuple):
    """Examples and their codes, repeated for each sample along one axis. With two axes, the
    products of the gradient would need transposes."""

    examples: Batch
    codes: Any
    noise: PyTree
    samples: int

    @classmethod
    def of(cls, model: Model, batch: Batch, noise: PyTree) -> "Drawn":
        """Encode each example once."""
        n, samples = jax.tree.leaves(noise)[0].shape[:2]
        examples = dataclasses.replace(batch, weight=None)  # no model reads weights
        codes = jax.vmap(model.encode)(examples)
        examples, codes = jax.tree.map(
            lambda leaf: jnp.repeat(leaf, samples, axis=0), (examples, codes)
        )
        flat = jax.tree.map(lambda leaf: leaf.reshape(n * samples, *leaf.shape[2:]), noise)
        return cls(examples, codes, flat, samples)

    def by_example(self, tree: PyTree) -> PyTree:
        """Reshape leaves (batch·samples, …) to (batch, samples, …)."""
        return jax.tree.map(lambda leaf: leaf.reshape(-1, self.samples, *leaf.shape[1:]), tree)


def draws(model: Model, batch: Batch, noise: PyTree) -> Draws:
    """Encode each example once, and decode each of its draws."""
    return decoded(model, Drawn.of(model, batch, noise), batch.weights)


def decoded(model: Model, drawn: Drawn, weight: PerExample) -> Draws:
    """Decode each draw of encoded examples."""
    prior = model.prior_given()
    trace = jax.vmap(lambda e, c, eps: model.trace(e, c, eps, prior))
    return scored(model, drawn, trace(drawn.examples, drawn.codes, drawn.noise), weight)


def scored(model: Model, drawn: Drawn, trace: Trace, weight: PerExample) -> Draws:
    """Return the draws with log p(x | z) of each.

    A closed-form noise is the best one for this batch, so it is computed between decoding and
    log p(x | z).
    """
    likelihood, statistic = model.likelihood, None
    x, observed = drawn.examples.x, drawn.examples.observed
    if likelihood.has_statistic:
        statistic = drawn.by_example(jax.vmap(likelihood.statistic)(x, trace.outputs, observed))
        likelihood = likelihood.fitted(average(jnp.mean(statistic, axis=1), weight))
    log_likelihood = drawn.by_example(jax.vmap(likelihood.total)(x, trace.outputs, observed))
    return Draws(drawn.by_example(trace), log_likelihood, statistic)


def average(values: Float[Array, "batch *rest"], weight: PerExample) -> Float[Array, "*rest"]:
    """Return the weighted mean over the examples."""
    return jnp.tensordot(weight, values, axes=1) / jnp.sum(weight)


def averaged(each: Terms, weight: PerExample) -> Terms:
    """Average terms over draws, and then over examples by their weights."""
    return jax.tree.map(lambda value: average(jnp.mean(value, axis=1), weight), each)
