"""The Normal with a full covariance: z = μ + Lε."""

from logvar.distributions.multivariate import FullNormal
from logvar.posteriors.base import Code, Posterior, scale_setting
from logvar.scales import Scale


class Full(Posterior):
    """q(z | x) = N(μ, LLᵀ), L lower triangular with σ(raw) on its diagonal.

    The encoder also outputs the D(D − 1)/2 entries below the diagonal, which start at 0. So a run
    starts like its diagonal counterpart (Kingma & Welling 2019, arXiv 1906.02691, section 2.5.1).

    Args:
        scale: how raw outputs become the diagonal of L.
    """

    scale: Scale = scale_setting()

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {
            "mean": latent_dim,
            "raw": latent_dim,
            "lower": latent_dim * (latent_dim - 1) // 2,
        }

    def distribution(self, code: Code) -> FullNormal:
        return FullNormal(code["mean"], code["raw"], code["lower"], self.scale)
