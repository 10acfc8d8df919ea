"""The uniform distribution on the unit sphere."""

from typing import Any, ClassVar

from logvar.distributions.power_spherical import UniformSphere as Density
from logvar.priors.base import Encode, Prior


class UniformSphere(Prior):
    """p(z) = Γ(D/2)/(2·π^{D/2}) on the unit sphere in D = latent_dim dimensions."""

    support: ClassVar[str | None] = "sphere"

    def given(self, latent_dim: int, encode: Encode, condition: Any = None) -> Density:
        return Density(latent_dim)
