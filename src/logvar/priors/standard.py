"""The standard Normal."""

from typing import Any

from logvar.distributions.multivariate import StandardNormal
from logvar.priors.base import Encode, Prior


class Standard(Prior):
    """p(z) = N(0, I)."""

    def given(self, latent_dim: int, encode: Encode, condition: Any = None) -> StandardNormal:
        return StandardNormal(latent_dim)
