"""The facts of a scale, computed from the scale itself, for pages, tables and commands."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from logvar.scales.base import Scale
from logvar.scales.registry import REGISTRY, describe, get

DTYPES = ("float32", "bfloat16", "float16")
SIGMAS = (1e-3, 1.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Facts:
    """One row of the catalogue."""

    name: str
    formula: str
    reference: str
    preset: bool
    raw_at_one: float | None
    """The raw output at σ = 1; None if the scale does not reach 1."""
    sigma_at_zero: float
    slopes: tuple[float | None, ...]
    """d = d log σ/dr at each of `SIGMAS`; None if the scale does not reach it."""
    bounds: tuple[float, float]
    safe_ranges: tuple[tuple[float, float], ...]
    """For each of `DTYPES`, on the current backend."""
    is_convex: bool

    @property
    def curvature(self) -> float | None:
        """KL″ at σ = 1, which equals the Fisher information 2d² there."""
        return None if self.slopes[1] is None else 2 * self.slopes[1] ** 2


def facts(name: str) -> Facts:
    """Return the facts of a scale, by its name or its text.

    Raises:
        LogvarError: the name is unknown.

    Example:
        >>> from logvar.scales.facts import facts
        >>> facts("log-std").curvature
        2.0
    """
    scale = get(name)
    entry = REGISTRY[name.split("(")[0]] if isinstance(name, str) else REGISTRY[describe(scale)]
    low, high = (np.asarray(bound, float) for bound in scale.bounds)
    reach = float(np.max(low)), float(np.min(high))
    at_one = _raw_at(scale, reach, 1.0)
    return Facts(
        name=name,
        formula=entry.formula,
        reference=entry.reference,
        preset=entry.preset,
        raw_at_one=at_one,
        sigma_at_zero=float(np.max(np.asarray(scale.sigma(0.0)))),
        slopes=tuple(_slope_at(scale, reach, sigma) for sigma in SIGMAS),
        bounds=reach,
        safe_ranges=tuple(scale.safe_range(jnp.dtype(dtype)) for dtype in DTYPES),
        is_convex=scale.is_convex,
    )


def _raw_at(scale: Scale, reach: tuple[float, float], sigma: float) -> float | None:
    if not reach[0] < sigma < reach[1]:
        return None
    with jax.enable_x64(True):
        return float(np.max(np.asarray(scale.raw(np.float64(sigma)))))


def _slope_at(scale: Scale, reach: tuple[float, float], sigma: float) -> float | None:
    raw = _raw_at(scale, reach, sigma)
    if raw is None:
        return None
    with jax.enable_x64(True):
        return float(np.max(np.asarray(scale.slope(np.float64(raw)))))
