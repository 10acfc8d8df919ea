"""8-bit values with the probability of each level, instead of a density at a point."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

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
from logvar.likelihoods.values import check_integers

LEVELS = 256
_HALF = (LEVELS - 1) / 2


class Discretized(WithNoise, LikelihoodSpec):
    """The discretized logistic, with its noise in units of 127.5 levels."""

    normalized = "probability of the levels"

    def __check_init__(self):
        if self.noise == "optimal":
            raise LogvarError(
                "noise 'optimal' has no closed form under the discretized logistic: expected "
                "likelihood 'normal' or 'laplace'; or use noise 'shared'"
            )

    def check(self, rows: np.ndarray) -> None:
        check_integers(rows, "discretized-logistic", LEVELS)

    def check_new(self, rows: np.ndarray) -> None:
        if ((rows < 0) | (rows > LEVELS - 1)).any():  # neither is true of a missing cell
            low, high = np.nanmin(rows), np.nanmax(rows)
            raise LogvarError(
                f"X has values from {low:g} to {high:g}: a discretized logistic model "
                f"expects levels from 0 to {LEVELS - 1}; rescale X"
            )

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "DiscretizedLogistic":
        return DiscretizedLogistic(self.observation_noise(shape))


class DiscretizedLogistic(Likelihood):
    """P(x) = F((x + ½ − m)/s) − F((x − ½ − m)/s) for x in 0 … 255, F the logistic function.

    The first and the last level take the tails, so the levels' probabilities add up to 1. The
    decoder works in units of 127.5 around 127.5: m = 127.5·(1 + location), s = 127.5·σ. A
    probability is at most 1, so no σ makes the likelihood unbounded.

    Reference:
        Kingma et al. 2016, arXiv 1606.04934; Salimans et al. 2017, arXiv 1701.05517.
    """

    noise: ObservationNoise

    @property
    def heads(self) -> int:
        return self.noise.heads

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        location, scale = self._location_and_scale(outputs)
        upper, lower = (x + 0.5 - location) / scale, (x - 0.5 - location) / scale
        # F(b) − F(a) = F(b)·F(−a)·(1 − e^{a − b}) has no cancellation, however narrow the level.
        inside = (
            jax.nn.log_sigmoid(upper) + jax.nn.log_sigmoid(-lower) + jnp.log(-jnp.expm1(-1 / scale))
        )
        first, last = jax.nn.log_sigmoid(upper), jax.nn.log_sigmoid(-lower)
        return jnp.where(x <= 0, first, jnp.where(x >= LEVELS - 1, last, inside))

    def mean(self, outputs: Outputs) -> Example:
        """E[x] = Σ P(x ≥ k) over k = 1 … 255."""
        location, scale = self._location_and_scale(outputs)

        def add(k, total):
            return total + jax.nn.sigmoid((location - k + 0.5) / scale)

        return lax.fori_loop(1, LEVELS, add, jnp.zeros_like(location))

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        location, scale = self._location_and_scale(outputs)
        drawn = location + scale * jax.random.logistic(key, location.shape)
        return jnp.clip(jnp.round(drawn), 0, LEVELS - 1)

    def encoder_input(self, x: Example, observed: Observed | None = None) -> Example:
        return super().encoder_input(x / _HALF - 1, observed)

    def sigma(self, outputs: Outputs) -> Example:
        return self._location_and_scale(outputs)[1]

    def _location_and_scale(self, outputs: Outputs) -> tuple[Outputs, Outputs]:
        """Return location and scale in units of levels."""
        location, raw = self.noise.split(outputs)
        return _HALF * (1 + location), _HALF * self.noise.scale.sigma(raw)
