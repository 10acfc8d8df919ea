"""The continuous Bernoulli: a density of intensities in [0, 1]."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from logvar.likelihoods.base import Example, Likelihood, Outputs
from logvar.likelihoods.bernoulli import check_unit_interval

_NEAR = 1.0
"""Logits below this, in size, are computed by series."""
_LOG_SINHC = (1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775)
"""log(sinh h/h) = h²/6 − h⁴/180 + …"""
_MEAN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
"""mean(l) − ½ = l/12 − l³/720 + …"""


class ContinuousBernoulli(Likelihood):
    """Intensities in [0, 1] with a density ∝ e^{x·l}; the outputs are the numbers l.

    log p(x | l) = x·l − log((e^l − 1)/l), in nats. It is the Bernoulli's cross-entropy with the
    normalizer that grey intensities need (Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845). The
    mean is 1/(1 − e^{−l}) − 1/l and not sigmoid(l).
    """

    reads_intensities: ClassVar[bool] = True
    binarizes: ClassVar[bool] = False
    normalized: ClassVar[str] = "density of intensities in [0, 1]"

    def check(self, rows: np.ndarray) -> None:
        check_unit_interval(rows, "continuous-bernoulli")

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        near = jnp.abs(outputs) < _NEAR
        small = jnp.where(near, outputs, 0.0)
        inside = (x - 0.5) * small - _log_sinhc(0.5 * small)
        # With a = |l|, log p = log(a/(1 − e^{−a})) − a·d, d the distance from the likelier end.
        far = jnp.where(near, 1.0, outputs)
        size = jnp.abs(far)
        distance = jnp.where(far > 0, 1 - x, x)
        outside = jnp.log(size) - jnp.log1p(-jnp.exp(-size)) - size * distance
        return jnp.where(near, inside, outside)

    def mean(self, outputs: Outputs) -> Example:
        near = jnp.abs(outputs) < _NEAR
        small = jnp.where(near, outputs, 0.0)
        inside = 0.5 + small * _polynomial(_MEAN, jnp.square(small))
        size = jnp.where(near, 1.0, jnp.abs(outputs))
        from_end = 1 / size - jnp.exp(-size) / -jnp.expm1(-size)
        return jnp.where(near, inside, jnp.where(outputs > 0, 1 - from_end, from_end))

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        """Draw by the inverse distribution function, from the likelier end."""
        uniform = jax.random.uniform(key, outputs.shape, outputs.dtype)
        size = jnp.maximum(jnp.abs(outputs), 1e-6)
        distance = jnp.clip(-jnp.log1p(uniform * jnp.expm1(-size)) / size, 0.0, 1.0)
        return jnp.where(outputs > 0, 1 - distance, distance)


def _log_sinhc(h: Outputs) -> Outputs:
    """log(sinh h/h) for |h| ≤ ½."""
    return jnp.square(h) * _polynomial(_LOG_SINHC, jnp.square(h))


def _polynomial(coefficients: tuple[float, ...], u: Outputs) -> Outputs:
    """c₀ + c₁·u + c₂·u² + … by Horner's rule."""
    total = jnp.full_like(u, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = c + u * total
    return total
