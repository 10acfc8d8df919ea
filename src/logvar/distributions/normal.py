"""The Normal distribution under a scale: sampler, density, entropy and KL in one object."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from logvar import scales
from logvar.errors import LogvarError
from logvar.scales import Scale
from logvar.scales.numerics import expm1_minus, floating, widely

Values = Float[Array, "..."]
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Normal(eqx.Module):
    """N(mean, σ(raw)²), elementwise.

    Sampler, density and KL share one scale, so they always agree on σ. All methods return the
    broadcast shape of `mean` and `raw`; sum over the latents yourself. Densities, entropies and
    divergences are in nats. Half-precision inputs are computed in float32 and rounded once.

    Args:
        mean: μ, any shape.
        raw: the unconstrained network output, of a shape that broadcasts with `mean`.
        scale: a `Scale` or the name of one, such as "log-variance".

    Example:
        >>> import logvar
        >>> q = logvar.Normal(1.0, 2.0, "log-std")
        >>> p = logvar.Normal(0.0, 0.0, "log-std")
        >>> float(q.kl(p).round(4)) == float(q.kl().round(4))
        True
    """

    mean: Values
    raw: Values
    scale: Scale

    def __init__(self, mean: ArrayLike, raw: ArrayLike, scale: str | Scale = "log-variance"):
        self.mean = floating(mean)
        self.raw = floating(raw)
        self.scale = scales.get(scale)
        try:
            jnp.broadcast_shapes(self.mean.shape, self.raw.shape)
        except ValueError as error:
            raise LogvarError(
                f"mean has shape {self.mean.shape} and raw {self.raw.shape}: expected shapes that "
                "broadcast, usually equal ones"
            ) from error

    @property
    def log_sigma(self) -> Values:
        """log σ, directly from the raw output."""
        return self._broadcast(self.scale.log_sigma(self.raw))

    @property
    def sigma(self) -> Values:
        """The standard deviation σ."""
        return self._broadcast(self.scale.sigma(self.raw))

    @property
    def variance(self) -> Values:
        """The variance σ²."""
        return self._broadcast(self.scale.variance(self.raw))

    def reparameterize(self, eps: ArrayLike) -> Values:
        """μ + σ ⊙ ε."""
        return widely(
            lambda mean, raw, eps: mean + self.scale.sigma(raw) * eps, self.mean, self.raw, eps
        )

    def sample(self, key: PRNGKeyArray) -> Values:
        """Draw once for each element."""
        shape = jnp.broadcast_shapes(self.mean.shape, self.raw.shape)
        return self.reparameterize(jax.random.normal(key, shape, self.mean.dtype))

    def log_prob(self, z: ArrayLike) -> Values:
        """log N(z; μ, σ²) = −½((z − μ)/σ)² − log σ − ½ log 2π; −∞ where that overflows."""
        return widely(
            lambda mean, raw, z: self._density((z - mean) / self.scale.sigma(raw), raw),
            self.mean,
            self.raw,
            z,
        )

    def log_prob_of_noise(self, eps: ArrayLike) -> Values:
        """log_prob(reparameterize(eps)) computed without z, which loses digits for σ ≪ |μ|."""
        return widely(lambda raw, eps: self._density(eps, raw), self.raw, eps)

    def entropy(self) -> Values:
        """½ log 2πe + log σ."""
        entropy = widely(lambda raw: self.scale.log_sigma(raw) + (0.5 + HALF_LOG_TWO_PI), self.raw)
        return self._broadcast(entropy)

    def kl(self, other: "Normal | None" = None) -> Values:
        """Return KL(self ‖ other) in closed form; against N(0, 1) if other is None.

        ½(ρ² − 1) − log ρ + ½((μ − μ′)/σ′)² with ρ = σ/σ′, without cancellation near ρ = 1.
        """
        if other is None:
            return widely(
                lambda mean, raw: self.scale.kl_excess(raw) + 0.5 * jnp.square(mean),
                self.mean,
                self.raw,
            )

        def between(mean: Values, raw: Values, other_mean: Values, other_raw: Values) -> Values:
            log_ratio = self.scale.log_sigma(raw) - other.scale.log_sigma(other_raw)
            distance = (mean - other_mean) / other.scale.sigma(other_raw)
            return 0.5 * (expm1_minus(2 * log_ratio) + jnp.square(distance))

        return widely(between, self.mean, self.raw, other.mean, other.raw)

    def _density(self, standardized: Values, raw: Values) -> Values:
        return -0.5 * jnp.square(standardized) - self.scale.log_sigma(raw) - HALF_LOG_TWO_PI

    def _broadcast(self, values: Values) -> Values:
        return jnp.broadcast_to(values, jnp.broadcast_shapes(values.shape, self.mean.shape))


def reparameterize(
    mean: ArrayLike,
    raw: ArrayLike,
    eps: ArrayLike | None = None,
    *,
    key: PRNGKeyArray | None = None,
    scale: str | Scale = "log-variance",
) -> Values:
    """z = μ + σ(raw) ⊙ ε, the reparameterization trick under a named scale.

    Args:
        mean: μ, any shape.
        raw: the raw scale output, of a shape that broadcasts with `mean`.
        eps: the standard normal noise ε; pass either this or `key`.
        key: a JAX key to draw ε from.
        scale: how raw becomes σ.

    Raises:
        LogvarError: neither or both of `eps` and `key` are given, or the scale is unknown.

    Reference:
        Kingma & Welling 2013, arXiv 1312.6114.

    Example:
        >>> import logvar
        >>> float(logvar.reparameterize(1.0, 0.0, eps=2.0, scale="log-std"))
        3.0
    """
    normal = Normal(mean, raw, scale)
    if eps is not None and key is None:
        return normal.reparameterize(eps)
    if key is not None and eps is None:
        return normal.sample(key)
    got = "neither" if eps is None else "both"
    raise LogvarError(f"reparameterize got {got} of eps and key: give exactly one")
