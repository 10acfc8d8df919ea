"""The contract of an observation likelihood: what a decoder's outputs say about one example x."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.scales.numerics import folded

Example = Float[Array, "*shape"]
Outputs = Float[Array, "..."]
"""What the decoder puts out for one example: its shape, or with a first axis of `heads`."""


class Likelihood(eqx.Module):
    """p(x | outputs) for one example, elementwise over its features.

    Densities are in nats and in the data's own units; x, means and draws are as a model sees them,
    which for real values is standardized (`logvar.data.standardization`). A new one is a class with
    `log_prob`, `mean` and `sample`, and one line in `logvar.distributions.registry`.
    """

    @property
    def heads(self) -> int:
        """How many outputs the decoder gives for each feature: 2 where it also gives a scale."""
        return 1

    @abc.abstractmethod
    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        """log p(x | outputs) for each feature."""

    def total(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        """log p(x | outputs): the sum of `log_prob`, for a class that has it cheaper."""
        return jnp.sum(folded(self.log_prob(x, outputs)))

    @abc.abstractmethod
    def mean(self, outputs: Outputs) -> Example:
        """E[x | outputs]."""

    @abc.abstractmethod
    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        """One draw of x."""

    def standardize(self, x: Example) -> Example:
        """What the encoder sees of x."""
        return x

    def trainable(self) -> Any:
        """A pytree like self that says which leaves training carries along."""
        return jax.tree.map(lambda _: False, self)

    def sigma(self, outputs: Outputs) -> Example | None:
        """The observation noise σ in the units of x, where there is one."""
        return None

    # A noise in closed form is fitted to residuals; other likelihoods have nothing to fit.

    @property
    def fits_residuals(self) -> bool:
        """Whether the noise is the best one for the residuals instead of being learned."""
        return False

    def residual(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        """The mean over features of what the best noise is a function of."""
        return jnp.zeros(())

    def fitted(self, residual: Float[Array, ""]) -> "Likelihood":
        """This likelihood with the noise that is best for a mean residual."""
        return self
