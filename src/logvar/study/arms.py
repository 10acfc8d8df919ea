"""The arms of a comparison: a scale as is, or matched to the reference.

As is: only the scale is swapped, as someone would who changes that line of code. The weights are
the same, so the first raw outputs are the same; so is the learning rate.

Matched: the same start and the same step in log σ. With σ₀ the reference's first σ, the raw
outputs start as r = r(σ₀) + c·r_ref with c = d_ref/d, the ratio of the slopes at σ₀, and the
optimizer works in coordinates divided by c, which compensates learning rate, Adam's ε, weight decay
of the kernel and clipping at once (`rescaling.matching`). Within the log family c holds everywhere,
so matched runs are the same run. For other scales it holds at σ₀, and the difference elsewhere is
measured.
"""

import equinox as eqx
import numpy as np
from jaxtyping import PyTree

from logvar.errors import LogvarError
from logvar.models.heads import scale_head
from logvar.models.vae import VAEModel
from logvar.rescaling.matching import coordinates, factor_between
from logvar.scales import LogFamily, Scale, describe

AS_IS = "as is"
MATCHED = "matched"
ARMS = (AS_IS, MATCHED)


def first_sigma(reference: Scale) -> float:
    """Return σ₀, the σ of a head whose raw output is 0."""
    return float(reference.sigma(0.0))


def factor(scale: Scale, reference: Scale) -> float:
    """Return c = d_ref/d at σ₀: how far the raw output of `scale` moves per unit of the reference.

    Raises:
        LogvarError: the scale does not reach σ₀.
    """
    if isinstance(scale, LogFamily) and isinstance(reference, LogFamily):
        return factor_between(scale, reference)
    return float(reference.slope(0.0)) / float(scale.slope(first_raw(scale, reference)))


def first_raw(scale: Scale, reference: Scale) -> float:
    """Return r(σ₀), the raw output at which `scale` starts where the reference starts.

    Raises:
        LogvarError: the scale does not reach σ₀.
    """
    sigma = first_sigma(reference)
    low, high = (np.asarray(bound, float) for bound in scale.bounds)
    if not (np.max(low) < sigma < np.min(high)):
        raise LogvarError(
            f"{describe(scale)} cannot start at σ = {sigma:g}, where {describe(reference)} starts: "
            f"it reaches ({np.max(low):g}, {np.min(high):g}); compare it with arms=['as is'], or "
            "with another reference"
        )
    return float(scale.raw(sigma))


def start_arm(model: VAEModel, scale: Scale, reference: Scale, arm: str) -> tuple[VAEModel, PyTree]:
    """Return (model, coordinates to train it in) for one arm.

    Args:
        model: a fresh model with unchanged raw outputs; its own scale does not matter.
        scale: the scale to train under.
        reference: the scale to match.
        arm: "as is" or "matched".

    Raises:
        LogvarError: the scale does not reach the reference's first σ.
    """
    model = eqx.tree_at(lambda model: model.posterior.scale, model, scale)
    if arm == AS_IS:
        return model, coordinates(model)
    head = scale_head(model)
    if head is None:
        raise LogvarError(
            "the matched arm needs a built-in encoder, whose last layer is one matrix for mean and "
            "raw output: use network='mlp', 'conv' or 'tutorial', or arms=['as is']"
        )
    c = factor(scale, reference)
    return head.changed(model, c, first_raw(scale, reference)), coordinates(model, c)


def slope_mismatch(scale: Scale, reference: Scale, raw: np.ndarray) -> np.ndarray:
    """Return log of the matched step in log σ over the reference's at the same σ; 0 is a match.

    One step of the matched arm moves log σ by |d|·|c|, one of the reference by |d_ref|. Entries
    whose σ the reference does not reach are NaN.
    """
    sigma = np.asarray(scale.sigma(raw), np.float64)
    low, high = (np.asarray(bound, float) for bound in reference.bounds)
    inside = (sigma > low) & (sigma < high)
    at = reference.raw(np.where(inside, sigma, first_sigma(reference)))
    ours = np.abs(np.asarray(scale.slope(raw), np.float64)) * abs(factor(scale, reference))
    theirs = np.abs(np.asarray(reference.slope(at), np.float64))
    with np.errstate(divide="ignore"):
        return np.where(inside, np.log(ours) - np.log(theirs), np.nan)
