"""How a run reads rows: the units of its model, and their preparation."""

import dataclasses

import numpy as np

from logvar.assembly.decisions import Decisions
from logvar.assembly.parts import Classes, get
from logvar.backend.sparse import Rows, array_of
from logvar.backend.streamed import StreamedRows
from logvar.data.examples import Examples, Units, examples_of, in_units
from logvar.data.preparation import Preparation, as_float32
from logvar.data.standardization import Standardization
from logvar.data.table.form import TableForm
from logvar.data.table.units import TableUnits
from logvar.likelihoods.mixed import Mixed
from logvar.recipe import Recipe


def units_of(
    recipe: Recipe,
    decisions: Decisions,
    rows: Rows,
    own: Classes = (),
    table: TableForm | None = None,
    sample: Rows | None = None,
) -> Units | None:
    """Return how the model reads rows, fitted to the training rows; None if it reads them as they
    are.

    Quantiles are those of a sample of the rows, if one is given.
    """
    spec = get("likelihood", decisions.likelihood, own)
    if isinstance(spec, Mixed):
        assert table is not None  # `decide` has checked it
        cells = rows if isinstance(rows, StreamedRows) else array_of(rows)
        of = None if sample is None else array_of(sample)
        return TableUnits.of_cells(cells, table.schema.modelled, of)
    if not spec.standardizes:
        return None
    rows = rows if isinstance(rows, StreamedRows) else array_of(rows)
    return Standardization.of_rows(rows, noise=0.5 if recipe.data.dequantize else 0.0)


def preparation(recipe: Recipe, decisions: Decisions, units: Units | None = None) -> Preparation:
    """Return the conversion of this run's rows to inputs."""
    plain = Preparation(
        decisions.divisor,
        recipe.data.binarization,
        recipe.data.dequantize,
        missing=decisions.missing,
    )
    if isinstance(units, TableUnits):
        return dataclasses.replace(plain, placeholder=units.placeholder)
    if units is None or not plain.dequantize:
        return plain
    return dataclasses.replace(plain, level=(1 / units.factor).astype(np.float32))


def dtype_of(rows: Rows, units: Units | None) -> str:
    if rows.dtype == np.uint8:
        return "uint8"
    return "float32" if units is None else np.dtype(units.dtype).name


def read(
    rows: Rows,
    prepared: Preparation,
    seed: int,
    units: Units | None,
    *,
    keyed: bool = True,
) -> Examples:
    """Return rows as a model reads them.

    Args:
        rows: the user's rows, checked.
        prepared: how they become inputs; static binarization is fixed here.
        seed: the seed of that binarization.
        units: those of the model, if it has any.
        keyed: whether noise will be keyed by the rows' bytes.

    Raises:
        LogvarError: a value is too large for a model that does not standardize.
    """
    if units is not None:
        rows = rows if isinstance(rows, StreamedRows) else array_of(rows)
        return in_units(rows, units, keyed=keyed)
    return examples_of(prepared.fix(as_float32(rows), seed))
