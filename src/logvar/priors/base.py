"""The contract of a prior: a specification that builds p(z)."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution

Encode = Callable[[Any], Distribution]
"""Maps one prepared example to q(z | x), for priors with pseudo-inputs."""


class PriorSpec(eqx.Module):
    """A prior as stored in a recipe: settings, and no arrays."""

    support: ClassVar[str | None] = "real"
    """The set that z lies in, which the posterior must share; None for that of any posterior."""
    is_conditional: ClassVar[bool] = False
    """Whether p(z) depends on an example's condition."""

    @abc.abstractmethod
    def build(self, latent_dim: int, key: PRNGKeyArray) -> "Prior":
        """Return the prior with its initial weights."""


class Prior(PriorSpec):
    """p(z), with its weights.

    A prior without weights is its own specification. A new one is a class with `given`, and one
    line in the registry.
    """

    def build(self, latent_dim: int, key: PRNGKeyArray) -> "Prior":
        return self

    @abc.abstractmethod
    def given(
        self, latent_dim: int, encode: Encode, condition: Float[Array, "..."] | None = None
    ) -> Distribution:
        """Return p(z), or p(z | condition); computed once per batch.

        Args:
            latent_dim: the number of latents.
            encode: the model's q(z | x) of one prepared example.
            condition: the condition of the examples, in a conditional model.
        """
