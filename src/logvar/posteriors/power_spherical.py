"""The power spherical distribution: latents on the unit sphere."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import PyTree

from logvar import scales
from logvar.distributions.power_spherical import PowerSpherical as Density
from logvar.distributions.power_spherical import direction
from logvar.errors import LogvarError
from logvar.posteriors.base import Code, Posterior, scale_setting
from logvar.randomness import Gaussian, Key
from logvar.scales import Scale


class PowerSpherical(Posterior):
    """q(z | x) ∝ (1 + μᵀz)^κ on the unit sphere (De Cao & Aziz 2020, arXiv 2006.04437).

    The sphere lies in latent_dim dimensions. It takes the place of the von Mises–Fisher
    distribution of hyperspherical VAEs (Davidson et al. 2018), without its Bessel functions and
    its rejection sampling in z. Goes with prior="uniform-sphere" or "vamp".

    Args:
        scale: how the raw output becomes the concentration κ.
    """

    scale: Scale = scale_setting()
    support: ClassVar[str] = "sphere"

    def check(self, latent_dim: int) -> None:
        if latent_dim < 2:
            raise LogvarError(
                "posterior 'power-spherical' has latent_dim 1, where the unit sphere is the two "
                "points −1 and 1: give latent_dim of at least 2"
            )
        if any(np.size(bound) > 1 for bound in self.scale.bounds):
            raise LogvarError(
                f"posterior 'power-spherical' has one κ for all latents, got the scale "
                f"{scales.describe(self.scale)!r} with bounds for each: give one number a bound"
            )

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {"mean": latent_dim, "raw": 1}

    def noise_like(self, latent_dim: int) -> PyTree:
        return Gaussian((latent_dim - 1,)), Key()

    def distribution(self, code: Code) -> Density:
        return Density(code["mean"], code["raw"], self.scale)

    def embedding(self, code: Code) -> Any:
        """Return the mean direction μ of x."""
        return direction(code["mean"])
