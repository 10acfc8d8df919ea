"""Real-valued features: Normal, Laplace and Student-t around the decoder's location."""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.normal import HALF_LOG_TWO_PI
from logvar.errors import LogvarError
from logvar.likelihoods.base import (
    Example,
    Likelihood,
    LikelihoodSpec,
    Observed,
    Outputs,
    Shape,
)
from logvar.likelihoods.noise import ObservationNoise, WithNoise
from logvar.registry import setting
from logvar.trainable import frozen


class Family(eqx.Module):
    """A density on the real line, symmetric about 0, with scale 1."""

    is_settings: ClassVar[bool] = True

    @abc.abstractmethod
    def log_density(self, u: Outputs) -> Outputs:
        """log f(u) in nats."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        """Return independent draws."""

    def residual(self, distance: Outputs) -> Outputs:
        """Return the statistic of each feature that determines the maximum-likelihood scale."""
        raise LogvarError(
            f"noise 'optimal' has no closed form under {type(self).__name__}: expected likelihood "
            "'normal' or 'laplace'; or use noise 'shared'"
        )

    def best_scale(self, residual: Float[Array, ""]) -> Float[Array, ""]:
        """Return the maximum-likelihood scale for the mean residual."""
        return residual


class NormalFamily(Family):
    """f(u) = e^{−u²/2}/√(2π): σ is the standard deviation."""

    def log_density(self, u: Outputs) -> Outputs:
        return -0.5 * jnp.square(u) - HALF_LOG_TWO_PI

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        return jax.random.normal(key, shape)

    def residual(self, distance: Outputs) -> Outputs:
        return jnp.square(distance)

    def best_scale(self, residual: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.sqrt(residual)


class LaplaceFamily(Family):
    """f(u) = e^{−|u|}/2: σ is the mean absolute deviation, and the standard deviation is √2·σ."""

    def log_density(self, u: Outputs) -> Outputs:
        return -jnp.abs(u) - math.log(2)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        return jax.random.laplace(key, shape)

    def residual(self, distance: Outputs) -> Outputs:
        return jnp.abs(distance)


class StudentTFamily(Family):
    """f(u) ∝ (1 + u²/ν)^{−(ν+1)/2}: heavy tails; the standard deviation is σ·√(ν/(ν − 2))."""

    degrees_of_freedom: Float[Array, ""]
    constant: Float[Array, ""]
    """log f(0)."""

    def __init__(self, degrees_of_freedom: float):
        v = float(degrees_of_freedom)
        constant = math.lgamma((v + 1) / 2) - math.lgamma(v / 2) - 0.5 * math.log(v * math.pi)
        # Arrays, so that another number of degrees of freedom uses the same compiled program.
        self.degrees_of_freedom = jnp.asarray(v, jnp.float32)
        self.constant = jnp.asarray(constant, jnp.float32)

    def log_density(self, u: Outputs) -> Outputs:
        v = self.degrees_of_freedom
        return self.constant - 0.5 * (v + 1) * jnp.log1p(jnp.square(u) / v)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        return jax.random.t(key, self.degrees_of_freedom, shape)


class OfRealValues(WithNoise, LikelihoodSpec):
    """A location-scale family with its observation noise."""

    standardizes: ClassVar[bool] = True

    def __check_init__(self):
        if self.noise == "optimal":
            self.family().residual(jnp.zeros(()))

    @abc.abstractmethod
    def family(self) -> Family:
        """The density at location 0 and scale 1."""

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "LocationScale":
        constant = jnp.broadcast_to(jnp.asarray(log_factor, jnp.float32), shape)
        return LocationScale(self.family(), self.observation_noise(shape), constant)


class Normal(OfRealValues):
    """Real values around the decoder's location, with Normal noise."""

    def family(self) -> NormalFamily:
        return NormalFamily()


class Laplace(OfRealValues):
    """Real values around the decoder's location, with Laplace noise."""

    def family(self) -> LaplaceFamily:
        return LaplaceFamily()


class StudentT(OfRealValues):
    """Real values around the decoder's location, with the heavy tails of Student's t."""

    degrees_of_freedom: float = setting(4.0, help="fewer have heavier tails", above=0)

    def family(self) -> StudentTFamily:
        return StudentTFamily(self.degrees_of_freedom)


class LocationScale(Likelihood):
    """x = location + σ·u with u from the family, in units of the training rows' spread.

    Rows are standardized before a model sees them (`logvar.data.standardization`). The log-density
    includes −log factor, so it is that of x in the data's own units; mean, draws and σ are
    standardized.
    """

    family: Family
    noise: ObservationNoise
    log_factor: Example = frozen()
    """log of the standard deviation that each feature was divided by."""

    @property
    def heads(self) -> int:
        return self.noise.heads

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        location, raw = self.noise.split(outputs)
        scale = self.noise.scale
        u = (x - location) / scale.sigma(raw)
        return self.family.log_density(u) - scale.log_sigma(raw) - self.log_factor

    def mean(self, outputs: Outputs) -> Example:
        return self.noise.split(outputs)[0]

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        location, raw = self.noise.split(outputs)
        u = self.family.sample(key, location.shape)
        return location + self.noise.scale.sigma(raw) * u

    def sigma(self, outputs: Outputs) -> Example:
        location, raw = self.noise.split(outputs)
        return jnp.broadcast_to(self.noise.scale.sigma(raw), location.shape)

    @property
    def has_statistic(self) -> bool:
        return self.noise.mode == "optimal"

    def statistic(
        self, x: Example, outputs: Outputs, observed: Observed | None = None
    ) -> Float[Array, "*parts"]:
        location, _ = self.noise.split(outputs)
        residual = self.family.residual(x - location)
        if observed is None:
            return jnp.mean(residual)
        residual = jnp.where(observed, residual, 0.0)
        return jnp.stack([jnp.mean(residual), jnp.mean(observed.astype(residual.dtype))])

    def fitted(self, statistic: Float[Array, "*parts"]) -> "LocationScale":
        if not self.has_statistic:
            return self
        if statistic.ndim:
            statistic = statistic[0] / jnp.maximum(statistic[1], jnp.finfo(jnp.float32).tiny)
        noise = self.noise.fitted(self.family.best_scale(statistic))
        return eqx.tree_at(lambda likelihood: likelihood.noise, self, noise)
