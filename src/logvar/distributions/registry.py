"""The one list of likelihoods: recipes, command line and contract tests read it."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from logvar.distributions.bernoulli import Bernoulli
from logvar.distributions.discretized import DiscretizedLogistic
from logvar.distributions.likelihood import Likelihood
from logvar.distributions.location_scale import (
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


def _normal(rows: np.ndarray, settings: NoiseSettings) -> Likelihood:
    return LocationScale.of_data(rows, NormalFamily(), settings.noise(rows.shape[1:]))


def _laplace(rows: np.ndarray, settings: NoiseSettings) -> Likelihood:
    return LocationScale.of_data(rows, LaplaceFamily(), settings.noise(rows.shape[1:]))


def _student_t(rows: np.ndarray, settings: NoiseSettings) -> Likelihood:
    family = StudentTFamily(settings.degrees_of_freedom)
    return LocationScale.of_data(rows, family, settings.noise(rows.shape[1:]))


def _discretized_logistic(rows: np.ndarray, settings: NoiseSettings) -> Likelihood:
    return DiscretizedLogistic(settings.noise(rows.shape[1:]))


LIKELIHOODS: Mapping[str, Callable[[np.ndarray, NoiseSettings], Likelihood]] = MappingProxyType(
    {
        "bernoulli": lambda rows, settings: Bernoulli(),
        "normal": _normal,
        "laplace": _laplace,
        "student-t": _student_t,
        "discretized-logistic": _discretized_logistic,
    }
)
"""The names a recipe may use, beside "auto"."""


def build(name: str, rows: np.ndarray, settings: NoiseSettings | None = None) -> Likelihood:
    """Build a likelihood; those of real values standardize by these rows.

    Raises:
        LogvarError: the name is unknown, or the noise does not go with it.
    """
    if name not in LIKELIHOODS:
        raise unknown_name("likelihood", name, LIKELIHOODS)
    return LIKELIHOODS[name](rows, settings or NoiseSettings())
