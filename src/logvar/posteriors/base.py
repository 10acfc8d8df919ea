"""The contract of a posterior family: the encoder's outputs, and the density from them."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import PRNGKeyArray, PyTree

from logvar import scales
from logvar.distributions.base import Distribution
from logvar.randomness import Gaussian
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES

Code = Mapping[str, Any]
"""An encoder's outputs for one example, by the name of each head."""


def scale_setting() -> Any:
    """Declare the scale of a posterior; the run's `scale` sets it if the text does not."""
    return setting(scales.get("log-variance"), help="how raw outputs become σ", part=SCALES)


class Posterior(eqx.Module):
    """q(z | x) as a function of the encoder's outputs for x.

    A new family is a class with `heads` and `distribution`, and one line in the registry. Positive
    quantities are σ(raw) of its scale, so the choice of a scale holds for every family.
    """

    scale: eqx.AbstractVar[Scale]
    reparameterizes: ClassVar[bool] = True
    """Whether z is a differentiable function of noise and parameters."""
    independent: ClassVar[bool] = False
    """Whether the latents of q(z | x) are independent, each with `mean` and `variance`."""
    support: ClassVar[str] = "real"
    """The set that z lies in: "real" vectors, or another set, which the prior must share."""

    def check(self, latent_dim: int) -> None:
        """Check that the family exists for this number of latents.

        Raises:
            LogvarError: it does not.
        """

    def build(self, latent_dim: int, key: PRNGKeyArray) -> "Posterior":
        """Return the family with its initial weights; most have none of their own."""
        return self

    @abc.abstractmethod
    def heads(self, latent_dim: int) -> dict[str, int]:
        """Return the number of encoder outputs of each head, in order: "mean" and "raw" first.

        Heads after these start at 0.
        """

    @abc.abstractmethod
    def distribution(self, code: Code) -> Distribution:
        """Return q(z | x) from the encoder's outputs for x."""

    def noise_like(self, latent_dim: int) -> PyTree:
        """Return the noise for one draw of z: a tree of `Gaussian` leaves, in the order of keys."""
        return Gaussian((latent_dim,))

    def embedding(self, code: Code) -> Any:
        """Return the embedding of x: the posterior mean."""
        return code["mean"]
