"""A second VAE on posterior draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from logvar.errors import LogvarError
from logvar.registry import setting
from logvar.samplers.base import FittedSampler, Latents, Sampler

_FOLDER = "second"


class TwoStage(Sampler):
    """A VAE with as many latents as the first, fitted to draws from the first one's posterior.

    Its decoder's σ is learned, and z is drawn from it with that noise.

    Args:
        epochs: the most passes over the draws; it stops early on a tenth held out.
        hidden: the sizes of its hidden layers.
    """

    epochs: int = setting(200, help="the most passes over the draws", at_least=1)
    hidden: tuple[int, ...] = setting((256, 256), help="sizes of hidden layers", at_least=1)

    def fit(self, latents: Latents, seed: int, estimator: Any) -> "FittedTwoStage":
        second = estimator(
            latents.shape[1],
            likelihood="normal",
            network=f"mlp(hidden={list(self.hidden)})",
            epochs=self.epochs,
            validation_fraction=0.1,
            patience=20,
            random_state=seed,
        )
        return FittedTwoStage(second.fit(latents))

    def read(self, folder: Path, latent_dim: int, load: Any) -> "FittedTwoStage":
        second = load(folder / _FOLDER)
        if second.fitted_.shape != (latent_dim,):
            raise LogvarError(
                f"{folder / _FOLDER} is of examples of shape {second.fitted_.shape}, expected "
                f"({latent_dim},): the file was changed; fit the sampler again"
            )
        return FittedTwoStage(second)


class FittedTwoStage(FittedSampler):
    """z drawn from the second VAE."""

    def __init__(self, second: Any):
        self.second = second

    def drawing(self, seed: int) -> Callable[[int], Latents]:
        drawn = self.second.sampling_in_blocks(random_state=seed)
        return lambda n: np.asarray(drawn(n), np.float32)

    def write(self, folder: Path) -> None:
        self.second.save(folder / _FOLDER)
