"""The Normal with a diagonal plus a low-rank covariance: z = μ + σ ⊙ ε₁ + W·ε₂."""

from jaxtyping import PyTree

from logvar.distributions.low_rank import LowRankNormal
from logvar.errors import LogvarError
from logvar.posteriors.base import Code, Posterior, scale_setting
from logvar.randomness import Gaussian
from logvar.registry import setting
from logvar.scales import Scale


class LowRank(Posterior):
    """q(z | x) = N(μ, diag σ² + WWᵀ), W of `rank` columns.

    It has correlations for latent_dim · rank further outputs, where `full` needs
    latent_dim · (latent_dim − 1)/2. W starts at 0, so a run starts like its diagonal counterpart
    (Ong et al. 2018, arXiv 1701.03208).

    Args:
        rank: the number of columns of W, below the number of latents.
        scale: how raw outputs become σ.
    """

    rank: int = setting(1, help="columns of W; below the number of latents", at_least=1)
    scale: Scale = scale_setting()

    def check(self, latent_dim: int) -> None:
        if self.rank >= latent_dim:
            raise LogvarError(
                f"posterior 'low-rank' has rank {self.rank} and latent_dim is {latent_dim}: give a "
                "rank below latent_dim, or use posterior='full', which has every correlation"
            )

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {"mean": latent_dim, "raw": latent_dim, "factor": latent_dim * self.rank}

    def noise_like(self, latent_dim: int) -> PyTree:
        return Gaussian((latent_dim,)), Gaussian((self.rank,))

    def distribution(self, code: Code) -> LowRankNormal:
        factor = code["factor"].reshape(-1, self.rank)
        return LowRankNormal(code["mean"], code["raw"], factor, self.scale)
