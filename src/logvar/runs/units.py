"""The files of a run folder that say how its model reads rows: standardization, schema, units."""

from pathlib import Path

import numpy as np

from logvar.data.conditions import Conditions
from logvar.data.examples import Units
from logvar.data.standardization import ARRAYS, Standardization
from logvar.data.table.form import TableForm
from logvar.data.table.units import TableUnits
from logvar.errors import LogvarError
from logvar.fitted import Fitted
from logvar.storage import run_folder
from logvar.storage.files import write_atomically
from logvar.storage.weights import load_named, load_whole, save_float64


def write_units(fitted: Fitted, folder: Path) -> None:
    """Write the files of a model's units, if it has any."""
    if fitted.table is not None:
        write_atomically(folder / run_folder.SCHEMA, fitted.table.as_toml())
    if fitted.features is not None:
        write_atomically(folder / run_folder.FEATURES, run_folder.to_json(list(fitted.features)))
    if fitted.conditions is not None:
        write_atomically(folder / run_folder.CONDITION, fitted.conditions.as_toml())
    if isinstance(fitted.units, TableUnits):
        save_float64(folder / run_folder.TABLE_UNITS, fitted.units.arrays())
    elif fitted.units is not None:
        arrays = {name: getattr(fitted.units, name) for name in ARRAYS}
        save_float64(folder / run_folder.STANDARDIZATION, arrays)


def read_table_form(folder: Path, manifest: run_folder.Manifest) -> TableForm | None:
    """Return the form of the table that a run was trained on; None if it was no table.

    Raises:
        LogvarError: the schema cannot be read.
    """
    if run_folder.SCHEMA not in manifest.hashes:
        return None
    path = folder / run_folder.SCHEMA
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LogvarError(f"{path} is not text; the file was changed: fit again") from error
    return TableForm.from_toml(text)


def read_features(folder: Path, manifest: run_folder.Manifest) -> tuple[str, ...] | None:
    """Return the names of the columns of a run that was fitted on no table; None if none had one.

    Raises:
        LogvarError: the file is not what `write_units` writes.
    """
    if run_folder.FEATURES not in manifest.hashes:
        return None
    found = run_folder.read_json(folder / run_folder.FEATURES)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise LogvarError(f"{folder / run_folder.FEATURES} is no list of names: fit again")
    if (len(found),) != manifest.shape:
        raise LogvarError(
            f"{folder / run_folder.FEATURES} has {len(found):,} names for examples of shape "
            f"{manifest.shape}: fit again"
        )
    return tuple(found)


def read_conditions(folder: Path, manifest: run_folder.Manifest) -> Conditions | None:
    """Return what a run's model is told of each row; None if it is told nothing.

    Raises:
        LogvarError: the file was changed.
    """
    if run_folder.CONDITION not in manifest.hashes:
        return None
    path = folder / run_folder.CONDITION
    try:
        return Conditions.from_toml(path.read_text(encoding="utf-8"))
    except (LogvarError, UnicodeDecodeError) as error:
        raise LogvarError(f"{path} cannot be read ({error}): fit again") from error


def read_units(
    folder: Path, manifest: run_folder.Manifest, table: TableForm | None
) -> Units | None:
    """Return the units of a run; None if its model reads rows as they are.

    Raises:
        LogvarError: a file is not what `write_units` writes.
    """
    if run_folder.TABLE_UNITS in manifest.hashes:
        path = folder / run_folder.TABLE_UNITS
        units = TableUnits.from_arrays(load_whole(path))
        if table is None or len(units.forms) != len(table.schema.modelled):
            raise LogvarError(f"{path} does not go with {run_folder.SCHEMA}: fit again")
        return units
    if run_folder.STANDARDIZATION not in manifest.hashes:
        return None
    path = folder / run_folder.STANDARDIZATION
    arrays = load_named(path, ARRAYS, manifest.shape)
    if not ((arrays["factor"] > 0) & (arrays["low"] <= arrays["high"])).all():
        raise LogvarError(f"{path} is not a standardization; the file was changed: fit again")
    shift, factor, low, high = (arrays[name] for name in ARRAYS)
    dtype = np.float64 if manifest.dtype == "float64" else np.float32
    return Standardization(shift, factor, low, high, dtype)
