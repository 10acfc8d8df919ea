"""DIP-VAE: the covariance of the aggregate posterior is drawn to the identity."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from logvar.distributions.base import Latents
from logvar.models.base import Code, Model, Terms
from logvar.models.batch import Batch
from logvar.objectives.base import (
    Drawn,
    Moment,
    Objective,
    Scalar,
    average,
    averaged,
    decoded,
    samples_setting,
)
from logvar.objectives.comparing import check_independent, covariance
from logvar.posteriors.base import Posterior
from logvar.priors.base import PriorSpec
from logvar.registry import setting


class DisentangledInferredPrior(Objective):
    """−ELBO + λ_off·Σ_{i≠j} C²ᵢⱼ + λ_on·Σ (Cᵢᵢ − 1)² (DIP-VAE).

    C is the covariance over the batch of the posterior means (kind i), or of z itself, which adds
    the mean of the posterior variances to its diagonal (kind ii; Kumar et al. 2018, arXiv
    1711.00848).

    Args:
        kind: "i" or "ii".
        on_diagonal: λ_on; the paper takes 10·λ_off for kind i, and λ_off for kind ii.
        off_diagonal: λ_off; the paper tries 1 to 500.
        samples: draws of z for each example and step.
    """

    compares_rows: ClassVar[bool] = True
    kind: str = setting("ii", help="covariance of the means, or of z", choices=("i", "ii"))
    on_diagonal: float = setting(10.0, help="weight of (variance − 1)²", at_least=0)
    off_diagonal: float = setting(10.0, help="weight of each squared covariance", at_least=0)
    samples: int = samples_setting(1)

    @property
    def analytic_kl(self) -> bool:
        return True

    def check(self, posterior: Posterior, prior: PriorSpec) -> None:
        check_independent("dip", posterior)

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        weight = batch.weights
        drawn = Drawn.of(model, batch, noise)
        mean = averaged(decoded(model, drawn, weight).terms(analytic_kl=True), weight)
        codes = jax.tree.map(lambda leaf: leaf[:: drawn.samples], drawn.codes)

        def of_code(code: Code) -> tuple[Latents, Latents]:
            q = model.density(code)
            return q.mean, q.variance

        means, variances = jax.vmap(of_code)(codes)
        of_z = covariance(means, weight)
        if self.kind == "ii":
            of_z = of_z + jnp.diag(average(variances, weight))
        on = jnp.diag(of_z)
        off = jnp.sum(jnp.square(of_z - jnp.diag(on)))
        penalty = self.off_diagonal * off + self.on_diagonal * jnp.sum(jnp.square(on - 1))
        return penalty - mean.elbo, mean
