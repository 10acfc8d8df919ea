"""Real-valued features: Normal, Laplace and Student-t around the decoder's location."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.compiling import from_host
from logvar.distributions.likelihood import Example, Likelihood, Outputs
from logvar.distributions.noise import ObservationNoise
from logvar.distributions.normal import HALF_LOG_TWO_PI
from logvar.errors import LogvarError


class Family(eqx.Module):
    """A density on the line, symmetric about 0 and at scale 1."""

    @abc.abstractmethod
    def log_density(self, u: Outputs) -> Outputs:
        """log f(u) in nats."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        """Independent draws."""

    def residual(self, distance: Outputs) -> Outputs:
        """What the maximum-likelihood scale is a function of, for each feature."""
        raise LogvarError(
            f"noise 'optimal' has no closed form under {type(self).__name__}: expected likelihood "
            "'normal' or 'laplace'; or use noise 'shared'"
        )

    def best_scale(self, residual: Float[Array, ""]) -> Float[Array, ""]:
        """The maximum-likelihood scale from the mean residual."""
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

    degrees_of_freedom: float = eqx.field(static=True)

    def log_density(self, u: Outputs) -> Outputs:
        v = self.degrees_of_freedom
        constant = math.lgamma((v + 1) / 2) - math.lgamma(v / 2) - 0.5 * math.log(v * math.pi)
        return constant - 0.5 * (v + 1) * jnp.log1p(jnp.square(u) / v)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Outputs:
        return jax.random.t(key, self.degrees_of_freedom, shape)


class LocationScale(Likelihood):
    """x = shift + factor·(location + σ·u) with u from the family: the decoder works standardized.

    `shift` and `factor` are the training data's mean and standard deviation per feature (1 for
    a constant feature); the density carries −log factor, so it is one of x as the user gave it.
    """

    shift: Example
    factor: Example
    family: Family
    noise: ObservationNoise

    def __check_init__(self):
        if self.noise.mode == "optimal":
            self.family.residual(jnp.zeros(()))

    @classmethod
    def of_data(cls, X: np.ndarray, family: Family, noise: ObservationNoise) -> "LocationScale":
        """Standardize by the columns of X."""
        shift = X.mean(0, dtype=np.float64)
        factor = X.std(0, dtype=np.float64)
        # A constant column's spread may come out as rounding noise of its mean instead of 0.
        factor[factor <= 1e-6 * np.abs(shift)] = 0
        factor = np.where(factor > 0, factor, 1.0)
        shift, factor = (from_host(value.astype(np.float32)) for value in (shift, factor))
        return cls(shift, factor, family, noise)

    @property
    def heads(self) -> int:
        return self.noise.heads

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        location, raw = self.noise.split(outputs)
        scale = self.noise.scale
        u = (self.standardize(x) - location) / scale.sigma(raw)
        return self.family.log_density(u) - scale.log_sigma(raw) - jnp.log(self.factor)

    def mean(self, outputs: Outputs) -> Example:
        return self.shift + self.factor * self.noise.split(outputs)[0]

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        location, raw = self.noise.split(outputs)
        u = self.family.sample(key, location.shape)
        return self.shift + self.factor * (location + self.noise.scale.sigma(raw) * u)

    def standardize(self, x: Example) -> Example:
        return (x - self.shift) / self.factor

    def trainable(self) -> Any:
        nothing = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(lambda likelihood: likelihood.noise, nothing, self.noise.trainable())

    def sigma(self, outputs: Outputs) -> Example:
        return self.factor * self.noise.scale.sigma(self.noise.split(outputs)[1])

    @property
    def fits_residuals(self) -> bool:
        return self.noise.mode == "optimal"

    def residual(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        if not self.fits_residuals:
            return jnp.zeros(())
        location, _ = self.noise.split(outputs)
        return jnp.mean(self.family.residual(self.standardize(x) - location))

    def fitted(self, residual: Float[Array, ""]) -> "LocationScale":
        if not self.fits_residuals:
            return self
        noise = self.noise.fitted(self.family.best_scale(residual))
        return eqx.tree_at(lambda likelihood: likelihood.noise, self, noise)
