"""The Normal whose covariance is a diagonal plus a matrix of low rank."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution, Groups, Latents
from logvar.distributions.normal import HALF_LOG_TWO_PI, Normal
from logvar.scales import Scale

Noise = tuple[Float[Array, "latent"], Float[Array, "rank"]]


class LowRankNormal(Distribution):
    """z = μ + σ ⊙ ε₁ + W·ε₂, so its covariance is diag σ² + W·Wᵀ, with σ = σ(raw).

    With V = W/σ, log det Σ = Σ log σᵢ² + log det(I + VᵀV), and the quadratic form is a problem of
    least squares, min over u of ‖ε₁ + V·u‖² + ‖ε₂ − u‖². Both come from one QR factorization of V
    on top of −I: its condition is the root of that of I + VᵀV, and no matrix is latent × latent.
    Memory and time are of the order latent · rank and latent · rank².

    Args:
        mean: μ, (latent,).
        raw: the raw outputs of σ, (latent,).
        factor: W, (latent, rank).
        scale: how raw becomes σ.
    """

    mean: Latents
    raw: Latents
    factor: Float[Array, "latent rank"]
    scale: Scale

    @property
    def _diagonal(self) -> Normal:
        return Normal(self.mean, self.raw, self.scale)

    @property
    def _factors(self) -> tuple[Float[Array, "stacked rank"], Float[Array, "rank rank"]]:
        """Q and R of V on top of −I."""
        relative = self.factor / self._diagonal.sigma[:, None]
        identity = jnp.eye(self.factor.shape[1], dtype=relative.dtype)
        return jnp.linalg.qr(jnp.concatenate([relative, -identity]))

    @property
    def covariance(self) -> Float[Array, "latent latent"]:
        """diag σ² + W·Wᵀ, to be looked at; nothing here uses it."""
        return jnp.diag(self._diagonal.variance) + self.factor @ self.factor.T

    def draw(self, noise: Noise) -> Latents:
        return self._diagonal.reparameterize(noise[0]) + self.factor @ noise[1]

    def log_prob(self, z: Latents) -> Float[Array, ""]:
        return self._density((z - self.mean) / self._diagonal.sigma)

    def log_prob_groups_of_noise(self, noise: Noise) -> Groups:
        return self._density(*noise)[None]

    def _density(
        self, of_latents: Float[Array, "latent"], of_factor: Float[Array, "rank"] | None = None
    ) -> Float[Array, ""]:
        """log q of z = μ + σ ⊙ of_latents + W·of_factor."""
        if of_factor is None:
            of_factor = jnp.zeros(self.factor.shape[1], of_latents.dtype)
        q, r = self._factors
        both = jnp.concatenate([of_latents, of_factor])
        distance = both - q @ (q.T @ both)
        each = self._diagonal.log_sigma + HALF_LOG_TWO_PI
        return -0.5 * jnp.sum(jnp.square(distance)) - jnp.sum(each) - _log_det(r)

    def kl_to_standard(self) -> Float[Array, ""]:
        """½(Σ σᵢ² + ‖W‖²_F + ‖μ‖² − D − log det Σ)."""
        of_diagonal = jnp.sum(self._diagonal.kl())
        return of_diagonal + 0.5 * jnp.sum(jnp.square(self.factor)) - _log_det(self._factors[1])

    def entropy(self) -> Float[Array, ""]:
        """½D log 2πe + ½ log det Σ."""
        return jnp.sum(self._diagonal.entropy()) + _log_det(self._factors[1])

    def sample(self, key: PRNGKeyArray) -> Latents:
        dtype, (latents, rank) = self.mean.dtype, self.factor.shape
        both = jax.random.normal(key, (latents + rank,), dtype)
        return self.draw((both[:latents], both[latents:]))


def _log_det(r: Float[Array, "rank rank"]) -> Float[Array, ""]:
    """½ log det(I + VᵀV)."""
    return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(r))))
