"""A Gaussian mixture on posterior draws, by scikit-learn."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from logvar.errors import LogvarError
from logvar.randomness import Purpose, host_stream
from logvar.registry import setting
from logvar.samplers.base import FittedSampler, Latents, Sampler, stored_arrays
from logvar.storage.weights import save_float64

_FILE = "mixture.safetensors"


class Mixture(Sampler):
    """A Gaussian mixture with full covariances, fitted to posterior draws by scikit-learn's EM.

    Args:
        components: the number of Normals.
    """

    components: int = setting(10, help="how many Normals", at_least=1)

    def fit(self, latents: Latents, seed: int, estimator: Any) -> "FittedMixture":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        if self.components > len(latents):
            raise LogvarError(
                f"sampler 'mixture(components={self.components})' got {len(latents)} rows: "
                "expected at most as many components as rows; give fewer components, or more rows"
            )
        mixture = GaussianMixture(self.components, random_state=seed, max_iter=200)
        with warnings.catch_warnings():
            # 200 steps of EM from k-means are a good mixture, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(latents)
        factors = np.linalg.cholesky(mixture.covariances_)
        return FittedMixture(mixture.weights_, mixture.means_, factors)

    def read(self, folder: Path, latent_dim: int, load: Any) -> "FittedMixture":
        shapes = {
            "weights": (self.components,),
            "means": (self.components, latent_dim),
            "factors": (self.components, latent_dim, latent_dim),
        }
        arrays = stored_arrays(folder / _FILE, shapes)
        return FittedMixture(*(arrays[name] for name in shapes))


class FittedMixture(FittedSampler):
    """Σ wₖ N(mₖ, LₖLₖᵀ)."""

    def __init__(
        self,
        weights: Float[np.ndarray, "components"],
        means: Float[np.ndarray, "components latent"],
        factors: Float[np.ndarray, "components latent latent"],
    ):
        self.weights, self.means, self.factors = weights, means, factors

    def drawing(self, seed: int) -> Callable[[int], Latents]:
        ends = np.cumsum(self.weights / self.weights.sum())
        components, normals = (host_stream(seed, Purpose.SAMPLER, i) for i in (0, 1))

        def drawn(n: int) -> Latents:
            which = components.random(n)
            k = np.minimum(np.searchsorted(ends, which, side="right"), len(ends) - 1)
            noise = normals.standard_normal((n, self.means.shape[1]))
            found = self.means[k] + np.einsum("nij,nj->ni", self.factors[k], noise)
            return found.astype(np.float32)

        return drawn

    def write(self, folder: Path) -> None:
        arrays = {"weights": self.weights, "means": self.means, "factors": self.factors}
        save_float64(folder / _FILE, arrays)
