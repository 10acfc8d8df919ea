"""Observation likelihoods: what the decoder's raw outputs say about one example x.

Every likelihood is elementwise over the features of one example; densities are in nats and in
the data's own units. Sum over features yourself.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar import scales
from logvar.distributions.normal import Normal
from logvar.scales import Scale
from logvar.scales.numerics import softplus

Example = Float[Array, "*shape"]


class Likelihood(eqx.Module):
    """p(x | outputs) for one example."""

    @abc.abstractmethod
    def log_prob(self, x: Example, outputs: Example) -> Example:
        """log p(x | outputs) for each feature."""

    @abc.abstractmethod
    def mean(self, outputs: Example) -> Example:
        """E[x | outputs] in the data's own units."""

    @abc.abstractmethod
    def sample(self, outputs: Example, key: PRNGKeyArray) -> Example:
        """One draw of x."""

    def standardize(self, x: Example) -> Example:
        """What the encoder sees of x."""
        return x

    def trainable(self) -> Any:
        """A pytree like self that says which leaves training may change."""
        return jax.tree.map(lambda _: False, self)

    def sigma(self) -> Array | None:
        """The observation noise in the data's own units, where there is one."""
        return None


class Bernoulli(Likelihood):
    """Binary features, or intensities in [0, 1]; the outputs are logits.

    log p(x | l) = x·l − log(1 + e^l). For x strictly between 0 and 1 this is the cross-entropy
    that people train on, not a normalized density.
    """

    def log_prob(self, x: Example, outputs: Example) -> Example:
        return x * outputs - softplus(outputs)

    def mean(self, outputs: Example) -> Example:
        return jax.nn.sigmoid(outputs)

    def sample(self, outputs: Example, key: PRNGKeyArray) -> Example:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)


class NormalLikelihood(Likelihood):
    """x ~ N(shift + factor·outputs, (factor·σ)²): the decoder works in standardized units.

    `shift` and `factor` are the training data's mean and standard deviation per feature (1 for
    a constant feature); the density carries −log factor, so it is one of x as the user gave it.
    σ = scale.sigma(raw) is shared by all features, fixed or learned.
    """

    shift: Example
    factor: Example
    raw: Float[Array, ""]
    scale: Scale
    learned: bool = eqx.field(static=True)

    @classmethod
    def of_data(
        cls, X: np.ndarray, scale: str | Scale, sigma: float, learned: bool
    ) -> "NormalLikelihood":
        """Standardize by the columns of X and start the shared σ at `sigma` standardized units."""
        scale = scales.get(scale)
        shift = X.mean(0, dtype=np.float64)
        factor = X.std(0, dtype=np.float64)
        # A constant column's spread may come out as rounding noise of its mean instead of 0.
        factor[factor <= 1e-6 * np.abs(shift)] = 0
        factor = np.where(factor > 0, factor, 1.0)
        raw = jnp.asarray(scale.raw(sigma), jnp.float32)
        return cls(
            jnp.asarray(shift, jnp.float32), jnp.asarray(factor, jnp.float32), raw, scale, learned
        )

    def log_prob(self, x: Example, outputs: Example) -> Example:
        density = Normal(outputs, self.raw, self.scale).log_prob(self.standardize(x))
        return density - jnp.log(self.factor)

    def mean(self, outputs: Example) -> Example:
        return self.shift + self.factor * outputs

    def sample(self, outputs: Example, key: PRNGKeyArray) -> Example:
        return self.mean(Normal(outputs, self.raw, self.scale).sample(key))

    def standardize(self, x: Example) -> Example:
        return (x - self.shift) / self.factor

    def trainable(self) -> Any:
        nothing = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(lambda likelihood: likelihood.raw, nothing, self.learned)

    def sigma(self) -> Array | None:
        return self.factor * self.scale.sigma(self.raw)


LIKELIHOODS = ("bernoulli", "normal")
"""The names a recipe may use, beside "auto"."""
