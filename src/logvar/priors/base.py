"""The contract of a prior: a specification that builds p(z)."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution

Encode = Callable[[Any], Distribution]
"""From one prepared example to q(z | x): what a prior of pseudo-inputs reads."""


class PriorSpec(eqx.Module):
    """A prior as a recipe holds it: settings, and no arrays."""

    support: ClassVar[str] = "real"
    """Where z lies, which the posterior has to share."""

    @abc.abstractmethod
    def build(self, latent_dim: int, key: PRNGKeyArray) -> "Prior":
        """The prior with its weights as they start."""


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
        """p(z), or p(z | condition): computed once for a batch.

        Args:
            latent_dim: the number of latents.
            encode: the model's q(z | x) of one prepared example.
            condition: what the examples are conditioned on, in a conditional model.
        """
