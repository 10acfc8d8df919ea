"""Observation noise: a mode says where its raw value comes from, a Scale turns that into σ.

A learned σ makes the likelihood unbounded: if the decoder can reproduce a feature exactly,
log p → ∞ as σ → 0 (Mattei & Frellsen 2018, arXiv 1802.04826). Training then gains density at a
point instead of a better model. A floor bounds σ. For values at the floor, the density is set by
the floor, which is why reports count them.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar import scales
from logvar.errors import LogvarError, unknown_name
from logvar.registry import setting
from logvar.scales import Floored, Scale
from logvar.scales.registry import SCALES

MODES = ("shared", "fixed", "per-feature", "per-example", "optimal")
"""shared: one learned σ. fixed: a given σ. per-feature: one learned σ for each feature.
per-example: a second output of the decoder for each example and feature. optimal: in closed form,
from the residuals of the batch during training (σ-VAE, Rybkin et al. 2021, arXiv 2006.13202), and
from those of the whole training set afterwards."""

Outputs = Float[Array, "..."]
_AT_THE_FLOOR = 1.1


class WithNoise(eqx.Module):
    """The settings of a likelihood with an observation noise."""

    noise: str = setting("shared", help="where σ of the observations comes from", choices=MODES)
    sigma: float = setting(
        1.0, help="its start, or its value, in standardized units", above=0, below=math.inf
    )
    scale: Scale = setting(
        scales.get("log-std"), help="the scale in which it is learned", part=SCALES
    )
    floor: float = setting(1e-3, help="its smallest value; 0 is none", at_least=0)

    def observation_noise(self, shape: tuple[int, ...]) -> "ObservationNoise":
        """Return the noise for examples of this shape."""
        return ObservationNoise.starting_at(self.sigma, shape, self.noise, self.scale, self.floor)


class ObservationNoise(eqx.Module):
    """σ of an observation, in standardized units.

    Args:
        raw: the raw value: one number, one for each feature, or an offset of the decoder's second
            output that makes training start at the requested σ.
        scale: how raw becomes σ.
        mode: one of `MODES`.
    """

    raw: Float[Array, "..."]
    scale: Scale
    mode: str = eqx.field(static=True)

    @classmethod
    def starting_at(
        cls, sigma: float, shape: tuple[int, ...], mode: str, scale: str | Scale, floor: float
    ) -> "ObservationNoise":
        """Return a noise that starts at this σ, or is fixed to it.

        Raises:
            LogvarError: the mode is unknown, or the scale cannot reach σ.
        """
        if mode not in MODES:
            raise unknown_name("noise", mode, MODES)
        found = scales.get(scale)
        if mode == "fixed":
            floor = 0.0  # a fixed σ is used as given
        if floor:
            if sigma <= floor:
                raise LogvarError(
                    f"sigma of the noise is {sigma:g}, not above its floor {floor:g}: raise "
                    "sigma or lower the floor"
                )
            # An array, so that another floor uses the same compiled program.
            found = Floored(found, jnp.asarray(floor, jnp.float32))
        raw = jnp.asarray(found.raw(sigma), jnp.float32)
        return cls(jnp.full(shape, raw) if mode == "per-feature" else raw, found, mode)

    @property
    def heads(self) -> int:
        return 2 if self.mode == "per-example" else 1

    def split(self, outputs: Outputs) -> tuple[Outputs, Outputs]:
        """Split the decoder's outputs into (location, raw scale)."""
        if self.mode == "per-example":
            return outputs[0], outputs[1] + self.raw
        return outputs, self.raw

    @property
    def trains(self) -> bool:
        """Whether its value changes in training; `optimal` has no gradient, but changes, too."""
        return self.mode in ("shared", "per-feature", "optimal")

    @property
    def floor(self) -> float:
        """The smallest σ that the scale allows; 0 if there is no floor."""
        return float(np.asarray(self.scale.minimum)) if isinstance(self.scale, Floored) else 0.0

    def fitted(self, sigma: Float[Array, ""]) -> "ObservationNoise":
        """Return the noise with this σ, or with the nearest σ that the scale reaches."""
        reachable = self.scale.nearest(sigma)
        raw = self.scale.raw(jax.lax.stop_gradient(reachable))
        # The gradient through the best σ is zero, because it is an optimum, so none is computed.
        return eqx.tree_at(lambda noise: noise.raw, self, raw)

    def share_at_floor(self, sigma: np.ndarray) -> float:
        """Return the share of these σ within a tenth of the floor."""
        return float(np.mean(sigma <= _AT_THE_FLOOR * self.floor))
