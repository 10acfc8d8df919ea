"""Modes of a density of z that is known up to a constant, and its spread around each of them.

Draws of the prior and of the encoder may all lie so far from where the density is that a fit to the
best of them says little of it. From each of them Newton's method climbs there.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from logvar.evaluation.proposals import Draws, PerDraw, Students

_STEPS = 40
_ENOUGH = 0.01
"""The climb ends when a step gains fewer nats."""
_FRACTIONS = 2.0 ** np.arange(1, -9, -1)
"""Of a Newton step; the best of them is taken, so that no step goes down."""
_WIDTH = 0.03
"""Over which slopes' differences are taken, in spreads: wide enough to even out a ReLU's kinks."""
_HOPELESS = 40
"""A mode whose mass is estimated to be so many nats less than another's is left out."""
_LEAST_CURVATURE = 1e-4
"""Relative to the prior's, so that a flat direction does not make an endless step."""

Slopes = Callable[[Draws], tuple[PerDraw, Draws]]
"""Returns the log-density and its gradient at each z."""


def around_modes(slopes: Slopes, starts: Draws, spread: Float[np.ndarray, "latent"]) -> Students:
    """Return a component at the mode that Newton's method reaches from each start.

    Its spread is that of the Normal with the density's curvature there (Laplace's approximation).
    The shares are equal, because masses from this approximation may be far off.

    Args:
        slopes: the density.
        starts: where to start.
        spread: the prior's standard deviation of each latent, the unit in which steps are measured.
    """

    def at(z: Draws) -> tuple[PerDraw, Draws]:
        with np.errstate(over="ignore"):  # float32 ends where a first step may reach
            value, gradient = slopes(z)
        return np.where(np.isfinite(value), value, -np.inf), np.nan_to_num(gradient)

    z = starts.astype(np.float64)
    value, gradient = at(z)
    factors = _factors(at, z, np.broadcast_to(spread, z.shape), spread)
    for _ in range(_STEPS):
        step = np.einsum("kij,klj,kl->ki", factors, factors, gradient)
        tried = z[:, None] + _FRACTIONS[:, None] * step[:, None]
        values = at(tried.reshape(-1, z.shape[1]))[0].reshape(len(z), -1)
        best, row = values.argmax(1), np.arange(len(z))
        z = np.where((values[row, best] > value)[:, None], tried[row, best], z)
        if not (values[row, best] > value + _ENOUGH).any():
            break
        value, gradient = at(z)
        sizes = np.sqrt(np.sum(np.square(factors), axis=2))
        factors = _factors(at, z, sizes, spread)
    log_mass = value + np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    kept = log_mass > log_mass.max() - _HOPELESS
    return Students(np.full(kept.sum(), 1 / kept.sum()), z[kept], factors[kept])


def _factors(
    at: Slopes,
    z: Draws,
    sizes: Float[np.ndarray, "starts latent"],
    spread: Float[np.ndarray, "latent"],
) -> Float[np.ndarray, "starts latent latent"]:
    """Return L with L·Lᵀ = |−H|⁻¹, where H is the Hessian: the gradient's differences.

    The absolute value of a Hessian with positive directions makes steps that leave a saddle.
    """
    starts, latent = z.shape
    width = _WIDTH * sizes
    moved = width[:, :, None] * np.eye(latent)
    both = np.stack([z[:, None] + moved, z[:, None] - moved])
    gradients = at(both.reshape(-1, latent))[1].reshape(2, starts, latent, latent)
    curvature = (gradients[1] - gradients[0]) / (2 * width[:, :, None])
    curvature = 0.5 * (curvature + curvature.transpose(0, 2, 1)) * np.outer(spread, spread)
    values, vectors = np.linalg.eigh(curvature)
    inverse = np.einsum(
        "kia,ka,kja->kij", vectors, 1 / np.maximum(np.abs(values), _LEAST_CURVATURE), vectors
    )
    return spread[:, None] * np.linalg.cholesky(inverse)
