"""The facts of a scale, computed from the scale itself, for pages, tables and commands."""

import jax
import jax.numpy as jnp
import numpy as np

from logvar.scale_facts import DTYPES, SIGMAS, Facts
from logvar.scales.base import Scale
from logvar.scales.registry import REGISTRY, describe, get


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
