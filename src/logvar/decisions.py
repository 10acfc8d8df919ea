"""What `auto` stands for, decided from the data, and whether the data fit what was asked for."""

import dataclasses

import numpy as np

from logvar.data.preparation import BINARIZATIONS, as_float32
from logvar.distributions.discretized import LEVELS
from logvar.distributions.registry import LIKELIHOODS
from logvar.errors import LogvarError, unknown_name
from logvar.networks import registry as networks
from logvar.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What was decided from the data, and why, in words for the user."""

    likelihood: str
    network: str
    divisor: float
    why: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What else the data showed that the user should know."""


def decide(recipe: Recipe, rows: np.ndarray, *, custom_networks: bool) -> Decisions:
    """Decide what `auto` stands for, and check that the data fit it.

    Raises:
        LogvarError: the data do not fit the likelihood or the binarization.
    """
    asked = recipe.model.likelihood
    if asked not in ("auto", *LIKELIHOODS):
        raise unknown_name("likelihood", asked, ("auto", *LIKELIHOODS))
    if recipe.model.network not in ("auto", *networks.NETWORKS):
        raise unknown_name("network", recipe.model.network, ("auto", *networks.NETWORKS))
    if recipe.data.binarization not in BINARIZATIONS:
        raise unknown_name("binarization", recipe.data.binarization, BINARIZATIONS)
    why = []
    low, high = float(rows.min()), float(rows.max())
    likelihood = asked
    if asked == "auto":
        likelihood, reason = _likelihood_of(rows, low, high)
        why.append(f"likelihood {likelihood}: {reason}")
    pixels = rows.dtype == np.uint8 and high > 1
    divisor = 255.0 if likelihood == "bernoulli" and pixels else 1.0
    if likelihood == "bernoulli" and not _within_unit(low, high / divisor):
        with np.errstate(over="ignore"):
            read = rows.astype(np.float32)
        at = np.argwhere((read < 0) | (read > divisor))[0]
        raise LogvarError(
            f"likelihood 'bernoulli' got {rows[tuple(at)]:g} at row {at[0]}, column {_column(at)} "
            "(counting from 0): "
            "expected values in [0, 1]; rescale X, or use likelihood='normal'"
        )
    if likelihood != "bernoulli" and recipe.data.binarization != "none":
        raise LogvarError(
            f"binarization {recipe.data.binarization!r} goes with likelihood 'bernoulli', got "
            f"{likelihood!r}: use binarization='none'"
        )
    _check_levels(recipe, likelihood, rows)
    network = recipe.model.network
    shape = rows.shape[1:]
    if custom_networks:
        network = "custom"
    elif network == "auto":
        network = networks.choose(shape)
        why.append(f"network {network}: examples of shape {shape}")
    return Decisions(likelihood, network, divisor, tuple(why))


def _column(at: np.ndarray) -> int | tuple[int, ...]:
    return int(at[1]) if len(at) == 2 else tuple(int(i) for i in at[1:])


def _check_levels(recipe: Recipe, likelihood: str, rows: np.ndarray) -> None:
    """What speaks of levels needs integers."""
    discretized = likelihood == "discretized-logistic"
    if discretized:
        rows = as_float32(rows)
    if recipe.data.dequantize and likelihood in ("bernoulli", "discretized-logistic"):
        raise LogvarError(
            f"dequantize goes with a density of real values, got likelihood {likelihood!r}: use "
            "likelihood='normal', or dequantize=False"
        )
    if not (discretized or recipe.data.dequantize):
        return
    what = "likelihood 'discretized-logistic'" if discretized else "dequantize"
    allowed = f"integers from 0 to {LEVELS - 1}" if discretized else "integers"
    off = rows != np.round(rows)
    if discretized:
        off |= (rows < 0) | (rows > LEVELS - 1)
    if off.any():
        at = np.argwhere(off)[0]
        raise LogvarError(
            f"{what} got {rows[tuple(at)]:g} at row {at[0]}, column {_column(at)} (counting from "
            f"0): expected {allowed}; give pixels as uint8, or use another likelihood"
        )


def _likelihood_of(rows: np.ndarray, low: float, high: float) -> tuple[str, str]:
    if rows.dtype == np.uint8 and high > 1:
        return "bernoulli", "pixels stored as uint8, read as intensities x/255"
    if _within_unit(low, high):
        if np.isin(rows, (0, 1)).all():
            return "bernoulli", "all values are 0 or 1"
        if rows.ndim > 2:
            return "bernoulli", "images with values in [0, 1], read as intensities"
    return "normal", f"real values from {low:g} to {high:g}; standardized per feature"


def _within_unit(low: float, high: float) -> bool:
    """As a Bernoulli model reads them, in float32, where 1 + 1e-9 is 1."""
    with np.errstate(over="ignore"):
        return bool(np.float32(low) >= 0 and np.float32(high) <= 1)
