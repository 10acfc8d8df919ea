"""The contract of a likelihood: p(x) of one example, given a decoder's outputs."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from logvar.scales.numerics import combined_by_halves

Example = Float[Array, "*shape"]
Outputs = Float[Array, "..."]
"""The decoder's outputs for one example: of its shape, or with a leading axis of `heads`."""
Observed = Bool[Array, "..."]
"""Which cells of x are observed, structured like x."""
Shape = tuple[int, ...]


class LikelihoodSpec(eqx.Module):
    """A likelihood as stored in a recipe: settings, and no arrays."""

    standardizes: ClassVar[bool] = False
    """Whether rows are standardized per feature: true for densities of real values."""
    reads_intensities: ClassVar[bool] = False
    """Whether uint8 pixels are read as x/255 and may be binarized."""
    binarizes: ClassVar[bool] = True
    """Whether its intensities may be binarized, if it reads intensities."""
    reads_sparse: ClassVar[bool] = False
    """Whether rows may be a sparse matrix."""
    normalized: ClassVar[str] = "density in the data's own units"
    """The meaning of log p(x), printed beside every number."""

    def decided(self, *tables: Any) -> "LikelihoodSpec":
        """Return this likelihood with settings taken from these training (and held-out) rows.

        Raises:
            LogvarError: the rows do not fit; the message names the first bad value.
        """
        for rows in tables:
            self.check(rows)
        return self

    def check(self, rows: Any) -> None:
        """Check that the likelihood can be trained on these rows.

        Raises:
            LogvarError: it cannot; the message names the first bad value.
        """

    def can_score(self, rows: Any) -> Any:
        """Return which of these rows, drawn from the model itself, the likelihood can score."""
        return np.ones(len(rows), bool)

    def check_new(self, rows: Any) -> None:
        """Check that the likelihood can score these rows.

        Raises:
            LogvarError: it cannot; the message names a bad value.
        """

    @abc.abstractmethod
    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "Likelihood":
        """Return the likelihood for examples of this shape, with its initial weights.

        Args:
            shape: the shape of one example.
            log_factor: log of each feature's divisor, if rows are standardized.
        """

    def meaning(self, *, binarized: bool, dequantized: bool) -> str:
        """Return the meaning of log p(x), printed beside every number."""
        if dequantized:
            return (
                "density of the row plus uniform noise of one level: bounds the row's probability"
            )
        return self.normalized


class Likelihood(LikelihoodSpec):
    """p(x | outputs) for one example, elementwise over its features.

    Densities are in nats and in the data's own units; x, means and draws are in the model's units,
    which for real values are standardized (`logvar.data.standardization`). A likelihood without
    weights is its own specification. A new one is a class with `log_prob`, `mean` and `sample`, and
    one line in `logvar.likelihoods.registry`.
    """

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "Likelihood":
        return self

    @property
    def heads(self) -> int:
        """The number of decoder outputs per feature: 2 if the decoder also outputs a scale."""
        return 1

    def example_shape(self, shape: Shape) -> Shape:
        """Return the shape of x for examples of this shape in the data's own units."""
        return shape

    def encoder_shape(self, shape: Shape) -> Shape:
        """Return the shape of an example as the encoder sees it."""
        return shape

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the decoder's outputs for an example."""
        return shape if self.heads == 1 else (self.heads, *shape)

    def all_cells(self, read: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Return the mask of an example that the encoder reads as `read`: every cell observed."""
        return jnp.ones(read.shape, bool)

    # What the likelihood of a row takes from elsewhere than the decoder.

    @property
    def latents(self) -> int:
        """The number of latents that the likelihood reads itself: the last ones, which the decoder
        does not see."""
        return 0

    def with_latents(self, outputs: Outputs, own: Float[Array, "own"]) -> Outputs:
        """Return the decoder's outputs with those latents worked into them."""
        raise NotImplementedError(f"{type(self).__name__} reads no latents")

    def given(self, x: Example, observed: Observed | None = None) -> "Likelihood":
        """Return the likelihood of one example with what it takes from that row itself.

        Counts take the row's library size, so that means and draws are at the row's own.
        """
        return self

    @abc.abstractmethod
    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        """log p(x | outputs) for each feature."""

    def total(
        self, x: Example, outputs: Outputs, observed: Observed | None = None
    ) -> Float[Array, ""]:
        """Return log p(x | outputs), the sum of `log_prob` over the observed cells.

        None stands for all cells. Override it if it can be faster.
        """
        each = self.log_prob(x, outputs)
        if observed is not None:
            each = jnp.where(self.cells(observed), each, 0.0)
        return jnp.sum(combined_by_halves(each))

    def cells(self, observed: Observed) -> Bool[Array, "..."]:
        """Return which entries of `log_prob` belong to observed cells of x."""
        return observed

    @abc.abstractmethod
    def mean(self, outputs: Outputs) -> Example:
        """Return E[x | outputs]; for codes, the most probable ones."""

    @abc.abstractmethod
    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        """Draw one x."""

    def expectation(self, outputs: Outputs) -> Float[Array, "..."]:
        """Return E[x | outputs] in a form that may be averaged over draws of z.

        Codes of categories cannot be averaged, but the probabilities of their levels can.
        """
        return self.mean(outputs)

    def most_probable(self, expectation: Float[Array, "..."]) -> Example:
        """Return x of an averaged `expectation`: means, and the most probable codes."""
        return expectation

    error_name: ClassVar[str] = "squared_error"
    """The name of `errors` in a report."""
    error_means: ClassVar[str] = "per feature"
    """The quantity that is averaged, in words beside the figure."""

    def errors(self, mean: Example, x: Example, unit: ArrayLike = 1.0) -> Example:
        """Return the error of a reconstruction in each feature.

        Args:
            mean: the reconstruction.
            x: the example.
            unit: the unit of each feature, for errors that have one.
        """
        return jnp.square((mean - x) * unit)

    def encoder_input(self, x: Example, observed: Observed | None = None) -> Float[Array, "..."]:
        """Return x as the encoder sees it, with zeros for cells that are not observed."""
        return x if observed is None else jnp.where(observed, x, 0)

    noise_unit: ClassVar[str] = "standardized units"
    """The unit of a learned noise."""

    def sigma(self, outputs: Outputs) -> Example | None:
        """Return the observation noise σ in the units of x, or None if there is none."""
        return None

    # A closed-form noise is fitted to a statistic; other likelihoods have nothing to fit.

    @property
    def has_statistic(self) -> bool:
        """Whether the noise is computed from the residuals in closed form instead of learned."""
        return False

    def statistic(
        self, x: Example, outputs: Outputs, observed: Observed | None = None
    ) -> Float[Array, "*parts"]:
        """Return the mean over features of the statistic that determines the best noise.

        With missing cells, two numbers: its sum over the observed cells and their number, both
        divided by the number of features. Only sums over rows have the right ratio.
        """
        raise NotImplementedError(f"{type(self).__name__} fits nothing")

    def fitted(self, statistic: Float[Array, "*parts"]) -> "Likelihood":
        """Return this likelihood with the best noise for a statistic averaged over rows."""
        return self
