"""The diagonal Normal: z = μ + σ ⊙ ε."""

from typing import ClassVar

from logvar.distributions.multivariate import DiagonalNormal
from logvar.posteriors.base import Code, Posterior, scale_setting
from logvar.scales import Scale


class Diagonal(Posterior):
    """q(z | x) = N(μ, diag σ²) with μ and σ = σ(raw) from the encoder (Kingma & Welling 2013).

    Args:
        scale: how raw outputs become σ.
    """

    independent: ClassVar[bool] = True
    scale: Scale = scale_setting()

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {"mean": latent_dim, "raw": latent_dim}

    def distribution(self, code: Code) -> DiagonalNormal:
        return DiagonalNormal(code["mean"], code["raw"], self.scale)
