"""The contract of a prior: a specification that builds p(z)."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution
from logvar.errors import LogvarError


class Encode(NamedTuple):
    """The model's posterior of an input of the encoder, for priors with pseudo-inputs.

    The input is an example as the encoder reads it: after one-hot coding and standardization, with
    all cells observed. The model adds the mask, if its encoder reads one.
    """

    code: Callable[[Any], Any]
    """Maps an input to the encoder's outputs."""
    density: Callable[[Any], Distribution]
    """Maps these outputs to q(z | x)."""

    def __call__(self, x: Float[Array, "..."]) -> Distribution:
        """Return q(z | x)."""
        return self.density(self.code(x))


class EncoderInputs(NamedTuple):
    """Training rows as the encoder reads them, without mask, for priors that start at some; and the
    condition, for priors that depend on it."""

    shape: tuple[int, ...]
    """Of one example."""
    intensities: bool
    """Whether its values are intensities in [0, 1]."""
    available: int = 0
    """The number of training rows."""
    rows: Callable[[int], Float[Array, "some ..."]] | None = None
    """Returns so many training rows, chosen by the seed; None if weights will be loaded."""
    condition_size: int = 0
    """The number of values that the model is told of each example, labels among them."""

    def check(self, prior: str, components: int) -> None:
        """Check that there are as many training rows as components of a prior.

        Raises:
            LogvarError: there are fewer.
        """
        if self.rows is not None and components > self.available:
            raise LogvarError(
                f"prior {prior!r} has {components:,} components and there are {self.available:,} "
                f"training rows to learn them from: give components of at most {self.available:,}"
            )


class PriorSpec(eqx.Module):
    """A prior as stored in a recipe: settings, and no arrays."""

    support: ClassVar[str | None] = "real"
    """The set that z lies in, which the posterior must share; None for that of any posterior."""
    is_conditional: ClassVar[bool] = False
    """Whether p(z) depends on an example's condition."""

    reads_encoder: ClassVar[bool] = False
    """Whether p(z) depends on the encoder."""

    @abc.abstractmethod
    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "Prior":
        """Return the prior with its initial weights.

        Args:
            latent_dim: the number of latents.
            key: the key of the weights.
            inputs: what the encoder reads, for priors with pseudo-inputs or a condition.

        Raises:
            LogvarError: the prior does not fit the data.
        """


class Prior(PriorSpec):
    """p(z), with its weights.

    A prior without weights is its own specification. A new one is a class with `given`, and one
    line in the registry.
    """

    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "Prior":
        return self

    @abc.abstractmethod
    def given(
        self, latent_dim: int, encode: Encode, condition: Float[Array, "..."] | None = None
    ) -> Distribution:
        """Return p(z), or p(z | condition); computed once per batch.

        Args:
            latent_dim: the number of latents.
            encode: the model's q(z | x) of an input of the encoder.
            condition: the condition of the examples, in a conditional model.
        """
