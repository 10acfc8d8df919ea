"""Checks of a trained model, each a sentence with numbers, for `logvar doctor`."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logvar import scales
from logvar.evaluation.elbo import RowTerms
from logvar.evaluation.noise import NoiseSummary
from logvar.evaluation.summary import ACTIVE_VARIANCE, active_latents
from logvar.scales import Clamped, Floored, Scale

ACTIVE = f"variance of the posterior mean over rows above {ACTIVE_VARIANCE:g}"
"""The definition of an active latent, for people. Burda, Grosse & Salakhutdinov (2016) count them
this way; so do `evaluate`, `compare` and the report."""
_LARGE_STEP = 0.05
"""A step in log σ that changes σ by 5 % at once."""
_USED = 0.01
"""Nats of KL; below, a posterior on the sphere is uniform."""
_FLAT = 1e-2
"""Below this share of the scale's slope at σ = 1, a raw output hardly moves σ."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    fine: bool
    text: str

    def __str__(self) -> str:
        return f"{'fine' if self.fine else 'LOOK'}  {self.what}: {self.text}"


def examine(
    scale: Scale,
    row_terms: RowTerms,
    noise: NoiseSummary | None,
    *,
    learning_rate: float | None,
    optimizer: str,
    support: str = "real",
    factor: float = 1.0,
) -> list[Finding]:
    """Look for unused latents, collapse, a saturated scale, a floor that does nothing, too large a
    step in log σ, and a decoder whose σ lies at its floor.

    Args:
        scale: the model's scale.
        row_terms: terms of the rows to judge by.
        noise: of the decoder, for real-valued data.
        learning_rate: the largest of the schedule; None if unknown.
        optimizer: its name.
        support: the set that z lies in.
        factor: how far a raw output moves per step of its optimizer's coordinates.
    """
    findings = [
        _on_sphere(row_terms) if support == "sphere" else _latents(row_terms),
        _range(scale, row_terms.raw),
        _saturation(scale, row_terms.raw),
    ]
    if learning_rate is not None:
        findings.append(_step(scale, row_terms.raw, learning_rate, optimizer, factor))
    if isinstance(scale, Floored):
        findings.append(_floor(scale, row_terms.raw))
    if noise is not None:
        findings.append(_noise(noise))
    return findings


def _latents(row_terms: RowTerms) -> Finding:
    """Unused latents are common and harmless; a model without any active latent is broken."""
    kl = row_terms.kl.mean(0, dtype=np.float64)
    active = active_latents(row_terms.mean)
    if not active.any():
        bits = free_bits(kl, len(active))
        return Finding(
            "posterior collapse",
            False,
            f"none of {len(active)} latents is active ({ACTIVE}; KL {kl.sum():.3g} nats in all): "
            f"the decoder ignores z; try objective='elbo(free_bits={bits:g})', with which each "
            "latent may halve its variance at no cost, or 'elbo(warmup=20)', or a smaller decoder",
        )
    text = f"{active.sum()} of {len(active)} active ({ACTIVE}), KL {kl.sum():.3g} nats in all"
    unused = np.flatnonzero(~active)
    if len(unused):
        shown = ", ".join(map(str, unused[:8])) + (", …" if len(unused) > 8 else "")
        by_latent = len(kl) == len(active)  # true if q and p factor
        cost = f", at a cost of {kl[unused].sum():.2g} nats" if by_latent else ""
        text += f"; {len(unused)} unused ({shown}){cost}: latent_dim={active.sum()} would do"
    return Finding("latents", True, text)


def _on_sphere(row_terms: RowTerms) -> Finding:
    """Directions vary even if q hardly depends on them, so the KL to the uniform tells."""
    kl = row_terms.kl.sum(1).mean(dtype=np.float64)
    if kl >= _USED:
        return Finding("latents", True, f"q(z | x) is {kl:.3g} nats from the uniform distribution")
    bits = free_bits(np.array([kl]), row_terms.mean.shape[1] - 1)
    return Finding(
        "posterior collapse",
        False,
        f"q(z | x) is uniform on the sphere (KL {kl:.3g} nats): the decoder ignores z; try "
        f"objective='elbo(free_bits={bits:g})', or 'elbo(warmup=20)', or a smaller decoder",
    )


def free_bits(kl: Float[np.ndarray, "groups"], latents: int) -> float:
    """Return free bits that give a collapsed model reason to use z, nats for each group of the KL.

    log 2/2 nats for each latent is what a Normal costs whose mean takes half of the variance,
    ½·log(1/(1 − ½)); less would be free already if the KL is larger, so twice the KL then.
    """
    of_each = 0.5 * np.log(2) * latents / len(kl)
    return float(f"{max(of_each, 2 * float(kl.mean())):.2g}")


def _range(scale: Scale, raw: np.ndarray) -> Finding:
    low, high = scale.safe_range(jnp.float32)
    outside = float(np.mean(~((raw >= low) & (raw <= high))))
    text = f"[{raw.min():.4g}, {raw.max():.4g}] in a safe range of [{low:.4g}, {high:.4g}]"
    if outside:
        text += f", {outside:.2%} outside: σ² is 0 or infinite there; lower learning_rate, or clamp"
    return Finding("raw outputs", not outside, text)


def _saturation(scale: Scale, raw: np.ndarray) -> Finding:
    low, high = (float(np.max(np.asarray(bound))) for bound in scale.bounds)
    at = 1.0 if low < 1 < high else float(np.sqrt(max(low, 1e-30) * min(high, 1e30)))
    usual = float(np.max(np.abs(np.asarray(scale.slope(scale.raw(at))))))
    slope = np.abs(np.asarray(scale.slope(jnp.asarray(raw))))
    flat = float(np.mean(slope < _FLAT * usual))
    name = scales.describe(scale)
    if not flat:
        return Finding("saturation", True, f"σ moves with every raw output of {name}")
    clipped = isinstance(scale, Clamped) and scale.hard
    remedy = "its gradient is 0 there; drop hard=True" if clipped else "widen its bounds"
    return Finding(
        "saturation",
        False,
        f"{flat:.1%} of raw outputs lie where σ of {name} hardly moves: {remedy}",
    )


def _step(
    scale: Scale, raw: np.ndarray, learning_rate: float, optimizer: str, factor: float
) -> Finding:
    slope = np.abs(factor * np.asarray(scale.slope(jnp.asarray(raw)), float))
    middle = float(np.median(slope))
    adam = optimizer != "sgd"
    step = learning_rate * (middle if adam else middle**2)
    text = (
        f"one {'Adam' if adam else 'SGD'} step of {learning_rate:g} moves log σ by about {step:.2g}"
    )
    text += "" if adam else " times its gradient"
    if step > _LARGE_STEP:
        return Finding(
            "step in log σ", False, f"{text}: lower learning_rate, or a scale with less slope"
        )
    return Finding("step in log σ", True, text)


def _floor(scale: Floored, raw: np.ndarray) -> Finding:
    minimum = float(np.max(np.asarray(scale.minimum)))
    minimum = minimum if scale.of == "sigma" else minimum**0.5
    smallest = float(np.min(np.asarray(scale.sigma(jnp.asarray(raw)))))
    if smallest < 1.1 * minimum:
        return Finding(
            "floor", False, f"σ reaches its floor of {minimum:.3g}: lower it to see how far"
        )
    inert = smallest > 100 * minimum
    text = f"the smallest σ is {smallest:.3g}, the floor {minimum:.3g}"
    return Finding("floor", True, text + (": it does nothing" if inert else ""))


def _noise(noise: NoiseSummary) -> Finding:
    return Finding("observation noise", noise.share_at_floor == 0, str(noise))
