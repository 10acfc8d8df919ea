"""The contract of a likelihood: what a decoder's outputs say about one example x."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.scales.numerics import folded

Example = Float[Array, "*shape"]
Outputs = Float[Array, "..."]
"""The decoder's outputs for one example: of its shape, or with a first axis of `heads`."""
Shape = tuple[int, ...]


class LikelihoodSpec(eqx.Module):
    """A likelihood as a recipe holds it: settings, and no arrays."""

    standardizes: ClassVar[bool] = False
    """Whether rows are standardized for it, feature by feature: a density of real values."""
    reads_intensities: ClassVar[bool] = False
    """Whether pixels stored as uint8 are read as x/255, and may be binarized."""
    normalized: ClassVar[str] = "density in the data's own units"
    """What log p(x) is, in the words that go beside every number."""

    def decided(self, *tables: np.ndarray) -> "LikelihoodSpec":
        """This likelihood for these training (and held-out) rows, with what it takes from them.

        Raises:
            LogvarError: the rows do not fit; the message names the first value that does not.
        """
        for rows in tables:
            self.check(rows)
        return self

    def check(self, rows: np.ndarray) -> None:
        """Check that these rows can train it.

        Raises:
            LogvarError: they cannot; the message names the first value that does not fit.
        """

    def check_new(self, rows: np.ndarray) -> None:
        """Check that these rows can be scored.

        Raises:
            LogvarError: they cannot; the message names a value that does not fit.
        """

    @abc.abstractmethod
    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "Likelihood":
        """The likelihood of examples of this shape, with its weights as they start.

        Args:
            shape: of one example.
            log_factor: the log of what each feature was divided by, where rows are standardized.
        """

    def meaning(self, *, binarized: bool, dequantized: bool) -> str:
        """What log p(x) is, in the words that go beside every number."""
        if dequantized:
            return (
                "density of the row plus uniform noise of one level: bounds the row's probability"
            )
        return self.normalized


class Likelihood(LikelihoodSpec):
    """p(x | outputs) for one example, elementwise over its features.

    Densities are in nats and in the data's own units; x, means and draws are as a model sees them,
    which for real values is standardized (`logvar.data.standardization`). A likelihood without
    weights is its own specification. A new one is a class with `log_prob`, `mean` and `sample`, and
    one line in `logvar.likelihoods.registry`.
    """

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "Likelihood":
        return self

    @property
    def heads(self) -> int:
        """How many outputs the decoder gives for each feature: 2 where it also gives a scale."""
        return 1

    def encoder_shape(self, shape: Shape) -> Shape:
        """The shape in which the encoder sees an example."""
        return shape

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the decoder's outputs for an example."""
        return shape if self.heads == 1 else (self.heads, *shape)

    @abc.abstractmethod
    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        """log p(x | outputs) for each feature."""

    def total(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        """log p(x | outputs): the sum of `log_prob`, for a class that has it cheaper."""
        return jnp.sum(folded(self.log_prob(x, outputs)))

    @abc.abstractmethod
    def mean(self, outputs: Outputs) -> Example:
        """E[x | outputs]; of codes, the most probable ones."""

    @abc.abstractmethod
    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        """One draw of x."""

    error_name: ClassVar[str] = "squared_error"
    """What `errors` are called in a report."""

    def errors(self, difference: Example) -> Example:
        """The error of a reconstruction in each feature, from its difference to x."""
        return jnp.square(difference)

    def encoder_input(self, x: Example) -> Float[Array, "..."]:
        """x as the encoder sees it."""
        return x

    def sigma(self, outputs: Outputs) -> Example | None:
        """The observation noise σ in the units of x, where there is one."""
        return None

    # A noise in closed form is fitted to a statistic; other likelihoods have nothing to fit.

    @property
    def has_statistic(self) -> bool:
        """Whether the noise is the best one for the residuals instead of being learned."""
        return False

    def statistic(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        """The mean over features of what the best noise is a function of."""
        raise NotImplementedError(f"{type(self).__name__} fits nothing")

    def fitted(self, statistic: Float[Array, ""]) -> "Likelihood":
        """This likelihood with the noise that is best for a mean statistic."""
        return self
