"""The contract of a sampler: settings that are fitted to latents, and what comes of it."""

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from logvar.errors import LogvarError
from logvar.storage.weights import load_whole

Latents = Float[np.ndarray, "rows latent"]


class FittedSampler(abc.ABC):
    """A distribution of z to draw from, in place of the prior."""

    @abc.abstractmethod
    def drawing(self, seed: int) -> Callable[[int], Latents]:
        """Return what draws z, as many times as it is asked for, and goes on from there."""

    def draw(self, n: int, seed: int) -> Latents:
        """Draw z n times; more draws extend the same sequence."""
        return self.drawing(seed)(n)

    @abc.abstractmethod
    def write(self, folder: Path) -> None:
        """Write what `Sampler.read` reads into an existing folder; nothing is pickled."""


class Sampler(eqx.Module):
    """A sampler as text describes it: settings, and no arrays."""

    @abc.abstractmethod
    def fit(self, latents: Latents, seed: int, estimator: Any) -> FittedSampler:
        """Fit to one draw from the posterior of each row.

        Args:
            latents: (rows, latent).
            seed: of everything random.
            estimator: makes a `logvar.VAE` of its arguments, for samplers that are one.
        """

    @abc.abstractmethod
    def read(self, folder: Path, latent_dim: int, load: Any) -> FittedSampler:
        """Read what the fitted sampler wrote.

        Args:
            folder: where it was written.
            latent_dim: the number of latents.
            load: the function `logvar.load`.
        """


def stored_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read the arrays that a fitted sampler wrote.

    Raises:
        LogvarError: one is missing, has another shape, or a number in it is not finite.
    """
    arrays = load_whole(path)
    for name, shape in shapes.items():
        found = arrays[name].shape if name in arrays else "none"
        if found != shape or not np.isfinite(arrays[name]).all():
            raise LogvarError(
                f"{path}: {name} has shape {found}, expected {shape} of finite numbers; the file "
                "was changed: fit the sampler again"
            )
    return arrays
