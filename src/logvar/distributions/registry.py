"""The one list of likelihoods: recipes, command line and contract tests read it."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jax.typing import ArrayLike

from logvar.distributions.bernoulli import Bernoulli
from logvar.distributions.discretized import DiscretizedLogistic
from logvar.distributions.likelihood import Likelihood
from logvar.distributions.location_scale import (
    Family,
    LaplaceFamily,
    LocationScale,
    NormalFamily,
    StudentTFamily,
)
from logvar.distributions.noise import ObservationNoise
from logvar.errors import unknown_name
from logvar.scales import Scale


@dataclasses.dataclass(frozen=True)
class NoiseSettings:
    """What a likelihood with a noise of its own is built from."""

    mode: str = "shared"
    sigma: float = 1.0
    scale: str | Scale = "log-std"
    floor: float = 1e-3
    degrees_of_freedom: float = 4.0

    def noise(self, shape: tuple[int, ...]) -> ObservationNoise:
        """The noise for examples of this shape."""
        return ObservationNoise.starting_at(self.sigma, shape, self.mode, self.scale, self.floor)


FAMILIES: Mapping[str, Callable[[NoiseSettings], Family]] = MappingProxyType(
    {
        "normal": lambda settings: NormalFamily(),
        "laplace": lambda settings: LaplaceFamily(),
        "student-t": lambda settings: StudentTFamily(settings.degrees_of_freedom),
    }
)
"""Likelihoods of real values, which are standardized."""

LIKELIHOODS = ("bernoulli", *FAMILIES, "discretized-logistic")
"""The names a recipe may use, beside "auto"."""


def build(
    name: str,
    shape: tuple[int, ...],
    settings: NoiseSettings | None = None,
    log_factor: ArrayLike = 0.0,
) -> Likelihood:
    """Build a likelihood.

    Args:
        name: one of `LIKELIHOODS`.
        shape: of one example.
        settings: of its noise.
        log_factor: for real values, the log of what each feature was divided by.

    Raises:
        LogvarError: the name is unknown, or the noise does not go with it.
    """
    if name not in LIKELIHOODS:
        raise unknown_name("likelihood", name, LIKELIHOODS)
    settings = settings or NoiseSettings()
    if name == "bernoulli":
        return Bernoulli()
    if name == "discretized-logistic":
        return DiscretizedLogistic(settings.noise(shape))
    constant = jnp.broadcast_to(jnp.asarray(log_factor, jnp.float32), shape)
    return LocationScale(constant, FAMILIES[name](settings), settings.noise(shape))
