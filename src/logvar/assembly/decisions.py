"""Resolve `auto` from the data, and check that the data fit the requested parts."""

import dataclasses

import numpy as np

from logvar import networks
from logvar.assembly.parts import KINDS, Classes, get, is_auto, resolved
from logvar.data.images.shapes import check_channels_last
from logvar.data.preparation import BINARIZATIONS
from logvar.errors import LogvarError, unknown_name
from logvar.likelihoods import LikelihoodSpec
from logvar.likelihoods.bernoulli import divisor_of
from logvar.likelihoods.values import place
from logvar.recipe import Recipe

CUSTOM_NETWORK = "custom"
"""The name of networks that were passed as modules."""


@dataclasses.dataclass(frozen=True)
class Decisions:
    """The choices made from the data, and the reasons in words for the user."""

    likelihood: str
    """The likelihood as text, with all settings taken from the data."""
    network: str
    """The network as text, or "custom"."""
    divisor: float
    why: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Other observations about the data that the user should know."""


def decide(
    recipe: Recipe,
    rows: np.ndarray,
    validation: np.ndarray | None = None,
    *,
    custom_networks: bool,
    own: Classes = (),
) -> Decisions:
    """Choose the parts for `auto`, and check that the data fit.

    Args:
        recipe: the recipe of the run.
        rows: training rows.
        validation: held-out rows, which must fit as well.
        custom_networks: whether the networks were passed as modules.
        own: the user's own classes of parts.

    Raises:
        LogvarError: the data do not fit the likelihood or the binarization.
    """
    if recipe.data.binarization not in BINARIZATIONS:
        raise unknown_name("binarization", recipe.data.binarization, BINARIZATIONS)
    why = []
    text, reason = recipe.model.likelihood, ""
    if is_auto(text):
        name, reason = _likelihood_of(rows)
        text = resolved("likelihood", text, name, reason)
        why.append(f"likelihood {text}: {reason}")
    tables = [rows] if validation is None else [rows, validation]
    spec: LikelihoodSpec = get("likelihood", text, own).decided(*tables)
    for table in tables:
        _check_preparation(recipe, spec, text, table)
    return Decisions(
        KINDS["likelihood"].describe(spec),
        _network(recipe, rows.shape[1:], custom_networks, why),
        divisor_of(rows) if spec.reads_intensities else 1.0,
        tuple(why),
    )


def _network(recipe: Recipe, shape: tuple[int, ...], custom: bool, why: list[str]) -> str:
    network = recipe.model.network
    if custom:
        return CUSTOM_NETWORK
    if is_auto(network):
        check_channels_last(shape)
        network = resolved("network", network, networks.choose(shape), f"examples of shape {shape}")
        why.append(f"network {network}: examples of shape {shape}")
    return network


def _check_preparation(recipe: Recipe, spec: LikelihoodSpec, text: str, rows: np.ndarray) -> None:
    """Check that the preparation of rows fits their likelihood."""
    if recipe.data.binarization != "none" and not spec.reads_intensities:
        raise LogvarError(
            f"binarization {recipe.data.binarization!r} goes with likelihood 'bernoulli', got "
            f"{text!r}: use binarization='none'"
        )
    if not recipe.data.dequantize:
        return
    if not spec.standardizes:
        raise LogvarError(
            f"dequantize goes with a density of real values, got likelihood {text!r}: use "
            "likelihood='normal', or dequantize=False"
        )
    off = rows != np.round(rows)
    if off.any():
        at = np.argwhere(off)[0]
        raise LogvarError(
            f"dequantize got {rows[tuple(at)]:g} at {place(at)}: expected integers; give pixels as "
            "uint8, or use another likelihood"
        )


def _likelihood_of(rows: np.ndarray) -> tuple[str, str]:
    low, high = float(rows.min()), float(rows.max())
    if divisor_of(rows) != 1:
        return "bernoulli", "pixels stored as uint8, read as intensities x/255"
    with np.errstate(over="ignore"):  # compared in float32, where 1 + 1e-9 is 1
        within_unit = bool(np.float32(low) >= 0 and np.float32(high) <= 1)
    if within_unit:
        if np.isin(rows, (0, 1)).all():
            return "bernoulli", "all values are 0 or 1"
        if rows.ndim > 2:
            return "bernoulli", "images with values in [0, 1], read as intensities"
    return "normal", f"real values from {low:g} to {high:g}; standardized per feature"
