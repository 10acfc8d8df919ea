"""Resolve `auto` from the data, and check that the data fit the requested parts."""

import dataclasses

import numpy as np

from logvar import networks
from logvar.assembly.empty_columns import check_columns
from logvar.assembly.looks import are_bits, far_from_a_bell
from logvar.assembly.parts import KINDS, Classes, get, is_auto, resolved
from logvar.assembly.streaming import checked, decided
from logvar.assembly.tables import likelihood_of
from logvar.backend.sparse import Rows, array_of
from logvar.backend.streamed import StreamedRows
from logvar.data.facts import facts_of
from logvar.data.images.shapes import check_channels_last
from logvar.data.preparation import BINARIZATIONS, has_missing
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError, unknown_name
from logvar.likelihoods import LikelihoodSpec
from logvar.likelihoods.bernoulli import Bernoulli, divisor_of
from logvar.likelihoods.counts import OfCounts
from logvar.likelihoods.mixed import Mixed
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
    missing: bool = False
    """Whether rows have missing cells."""
    bits: bool = False
    """Whether all values are 0 or 1."""

    def noting(self, *notes: str) -> "Decisions":
        """Return these decisions with further notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    @property
    def lines(self) -> list[str]:
        """What the user is told: each choice and why, then the notes."""
        return [*(f"auto: {reason}" for reason in self.why), *self.notes]


def decide(
    recipe: Recipe,
    rows: Rows,
    validation: Rows | None = None,
    *,
    custom_networks: bool,
    own: Classes = (),
    table: TableForm | None = None,
    sample: Rows | None = None,
) -> Decisions:
    """Choose the parts for `auto`, and check that the data fit.

    Args:
        recipe: the recipe of the run.
        rows: training rows.
        validation: held-out rows, which must fit as well.
        custom_networks: whether the networks were passed as modules.
        own: the user's own classes of parts.
        table: the form of the table that rows are cells of, if they are.
        sample: the training rows that medians are taken from; all of them if it is not given.

    Raises:
        LogvarError: the data do not fit the likelihood or the binarization.
    """
    if recipe.data.binarization not in BINARIZATIONS:
        raise unknown_name("binarization", recipe.data.binarization, BINARIZATIONS)
    why = []
    text, reason = recipe.model.likelihood, ""
    if is_auto(text):
        of_table = None if table is None else likelihood_of(table)
        name, reason = of_table or _likelihood_of(rows)
        text = resolved("likelihood", text, name, reason)
        why.append(f"likelihood {text}: {reason}")
    tables = [rows] if validation is None else [rows, validation]
    spec = get("likelihood", text, own)
    _check_table(spec, table)
    check_columns([rows], table)  # first: settings from the data need values in each column
    spec = decided(spec, tables, rows if sample is None else sample)
    for some in tables:
        _check_preparation(recipe, spec, text, some)
    return Decisions(
        KINDS["likelihood"].describe(spec),
        _network(recipe, rows.shape[1:], custom_networks, why),
        _divisor_of(rows) if spec.reads_intensities else 1.0,
        tuple(why),
        notes=_notes(recipe, spec, rows) if is_auto(recipe.model.likelihood) else (),
        missing=any(map(has_missing, tables)),
        bits=spec.reads_intensities and all(map(are_bits, tables)),
    )


def check_values(recipe: Recipe, rows: Rows, own: Classes = ()) -> None:
    """Check counts before some rows are held out: errors then have the rows' own numbers.

    Raises:
        LogvarError: the likelihood cannot be trained on a value.
    """
    if not is_auto(recipe.model.likelihood):
        spec: LikelihoodSpec = get("likelihood", recipe.model.likelihood, own)
        if isinstance(spec, OfCounts):  # others may need to see the rows before they can check
            checked(spec.check, rows)


def _check_table(spec: LikelihoodSpec, table: TableForm | None) -> None:
    """Check that a mixed likelihood knows its columns."""
    if isinstance(spec, Mixed) and table is None:
        raise LogvarError(
            "likelihood 'mixed' models the columns of a table, and X is not a table: give a "
            "frame, a dict of columns or a file, or use likelihood='auto'"
        )


def _notes(recipe: Recipe, spec: LikelihoodSpec, rows: Rows) -> tuple[str, ...]:
    """Return what the user should know of the likelihood that was chosen for these rows."""
    if isinstance(spec, Bernoulli) and recipe.data.binarization == "none" and not are_bits(rows):
        return (
            "likelihood 'bernoulli' of grey intensities is a cross-entropy, not a density: "
            "likelihood='continuous-bernoulli' is a density",
        )
    if not spec.standardizes or rows.ndim != 2:
        return ()
    odd = far_from_a_bell(rows if isinstance(rows, StreamedRows) else array_of(rows))
    if not len(odd):
        return ()
    some = ", ".join(map(str, odd[:5])) + (", …" if len(odd) > 5 else "")
    return (
        f"{len(odd):,} of {rows.shape[1]:,} columns do not look like a bell ({some}): samples of "
        "them will; likelihood='mixed' models each column's own shape",
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


def _check_preparation(recipe: Recipe, spec: LikelihoodSpec, text: str, rows: Rows) -> None:
    """Check that the preparation of rows fits their likelihood."""
    binarizes = spec.reads_intensities and spec.binarizes
    if recipe.data.binarization != "none" and not binarizes:
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
    at = _first_fraction(rows)
    if at is not None:
        value = rows[at[0] : at[0] + 1][(0, *at[1:])]
        raise LogvarError(
            f"dequantize got {value:g} at {place(np.array(at))}: expected integers; give pixels as "
            "uint8, or use another likelihood"
        )


def _first_fraction(rows: Rows) -> tuple[int, ...] | None:
    if isinstance(rows, StreamedRows):
        return facts_of(rows).fraction
    array = array_of(rows)
    found = np.argwhere((array != np.round(array)) & (array == array))
    return tuple(found[0].tolist()) if len(found) else None


def _divisor_of(rows: Rows) -> float:
    if isinstance(rows, StreamedRows):
        return 255.0 if rows.dtype == np.uint8 and not facts_of(rows).bits else 1.0
    return divisor_of(array_of(rows))


def _likelihood_of(rows: Rows) -> tuple[str, str]:
    if isinstance(rows, StreamedRows):
        low, high = float(facts_of(rows).low.min()), float(facts_of(rows).high.max())
    else:
        array = array_of(rows)
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if _divisor_of(rows) != 1:
        return "bernoulli", "pixels stored as uint8, read as intensities x/255"
    with np.errstate(over="ignore"):  # compared in float32, where 1 + 1e-9 is 1
        within_unit = bool(np.float32(low) >= 0 and np.float32(high) <= 1)
    if within_unit:
        if are_bits(rows):
            return "bernoulli", "all values are 0 or 1"
        if rows.ndim > 2:
            return "bernoulli", "images with values in [0, 1], read as intensities"
    return "normal", f"real values from {low:g} to {high:g}; standardized per feature"
