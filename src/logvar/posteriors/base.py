"""The contract of a posterior family: the encoder's outputs, and the density they make."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import PyTree

from logvar import scales
from logvar.distributions.base import Distribution
from logvar.randomness import Gaussian
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES

Code = Mapping[str, Any]
"""What an encoder says of one example, by the name of each head."""


def scale_setting() -> Any:
    """The scale of a posterior, which a run's own `scale` sets where a text does not."""
    return setting(scales.get("log-variance"), help="how raw outputs become σ", part=SCALES)


class Posterior(eqx.Module):
    """q(z | x) as a function of the encoder's outputs for x.

    A new family is a class with `heads` and `distribution`, and one line in the registry. Positive
    quantities are σ(raw) of its scale, so the choice of a scale holds for every family.
    """

    scale: eqx.AbstractVar[Scale]
    reparameterizes: ClassVar[bool] = True
    """Whether z is a differentiable function of noise and parameters."""
    support: ClassVar[str] = "real"
    """Where z lies: "real" vectors, or another set that the prior has to share."""

    @abc.abstractmethod
    def heads(self, latent_dim: int) -> dict[str, int]:
        """How many outputs of the encoder each head takes, in order: "mean" and "raw" first.

        Heads after these start at 0.
        """

    @abc.abstractmethod
    def distribution(self, code: Code) -> Distribution:
        """q(z | x) from the encoder's outputs for x."""

    def noise_like(self, latent_dim: int) -> PyTree:
        """What one draw of z takes: a tree of `Gaussian` leaves, in the order of their keys."""
        return Gaussian((latent_dim,))

    def embedding(self, code: Code) -> Any:
        """The latents that stand for x: the posterior mean."""
        return code["mean"]
