"""The data of a command: read as the run's own were, and matched with its columns."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logvar.assembly.tables import Intake, taken_in_again
from logvar.cli.console import say
from logvar.data import sources
from logvar.data.annotated import is_annotated, named_columns
from logvar.data.images.shapes import fitting
from logvar.data.paths import BUILT_IN, TABLES, ending, is_pattern
from logvar.data.sources import Dataset
from logvar.data.splitting import Halves, split_of
from logvar.data.table.choices import Choices
from logvar.data.table.form import TableForm
from logvar.data.table.frame import Table
from logvar.data.table.large import LargeTable
from logvar.data.table.reading import read_table
from logvar.data.table.rows import beside, columns_of_kinds, rows_of
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.fitted import Fitted

Some = Any
"""An array, sparse rows, a `Table` or an AnnData object."""


class Rows(NamedTuple):
    """The rows to evaluate a run on."""

    rows: Some
    labels: np.ndarray | None
    split: str


class Given(NamedTuple):
    """All rows of the data, and what they carry with them."""

    rows: Some
    files: tuple[str, ...]
    """The file of each row, if each has its own."""
    identifiers: Table | None
    """The columns of a table that name its rows."""
    carried: Table | None
    """These and its labels."""


def load_for(fitted: Fitted, data: str | None, data_dir: str | None) -> Dataset:
    """Load data for a run, its own or others, read as those it was fitted on.

    Raises:
        LogvarError: the data cannot be read this way, they have other columns, or the run does not
            know its own.
    """
    recipe = fitted.recipe
    source = data or recipe.data.data
    if not source:
        raise LogvarError("this run does not say what data it was fitted on: give DATA")
    absent = not Path(source).exists() and not is_pattern(source)
    if not data and source not in BUILT_IN and absent:
        raise LogvarError(
            f"this run was fitted on {source}, which is not there any more: put it back, or give "
            "DATA"
        )
    choices = Choices.of(recipe.data)
    dataset = sources.load(
        source,
        data_dir,
        reading=recipe.data.reading,
        choices=choices,
        window=recipe.training.window,
    )
    if is_annotated(dataset.train):
        fitted.take_in(dataset.train, source)  # errors name the source
    if isinstance(dataset.train, Table) and fitted.table is not None:
        table = _matched(dataset.train, fitted.table, source, choices)
        dataset = dataclasses.replace(dataset, train=table, notes=table.remarks)
        taken_in_again(table, fitted.table, source)  # errors name the source
    if data:
        for note in dataset.notes:
            say(note)
    return dataset


def all_rows(vae: VAE, data: str | None, data_dir: str | None) -> Given:
    """Return training and test rows together."""
    dataset = load_for(vae.fitted_, data, data_dir)
    rows, form = dataset.train, vae.fitted_.table
    if is_annotated(rows):
        identifiers, labels = named_columns(rows, Choices.of(vae.recipe_.data).said())
        names: dict[Any, Any] = {
            rows.obs.index.name or "cell": list(map(str, rows.obs_names)),
            **identifiers,
        }
        return Given(rows, (), beside(None, names), beside(None, names | labels))
    if isinstance(rows, Table):
        if form is None:
            return Given(rows, (), None, None)
        ids = ("identifier",)
        return Given(
            rows, (),
            columns_of_kinds(rows, form.schema, ids),
            columns_of_kinds(rows, form.schema, (*ids, "label")),
        )  # fmt: skip
    if dataset.test is None:
        return Given(rows, dataset.names, None, None)
    together = np.concatenate([rows, dataset.test])
    return Given(together, dataset.names + dataset.test_names, None, None)


def given_for(fitted: Fitted, rows: Some) -> Intake:
    """Return rows as the numbers that a fitted model is given, with their condition."""
    given = fitted.take_in(rows)
    return given._replace(rows=fitting(given.rows, fitted.shape))


def halves_of(dataset: Dataset, fitted: Fitted) -> Halves:
    """Return which rows of the training set `fit` trains on, and holds out."""
    settings, n = fitted.recipe.training, len(dataset.train)
    return split_of(n, settings.validation_fraction, settings.random_state, fitted.window(n))


def judged_rows(dataset: Dataset, fitted: Fitted) -> Rows:
    """Return the test set if there is one, otherwise the rows held out from training."""
    if dataset.test is not None:
        return Rows(dataset.test, dataset.test_labels, "test")
    halves = halves_of(dataset, fitted)
    some = len(halves.held_out) > 0
    name = "held out, also used to stop early" if some else "train (nothing was held out)"
    chosen = halves.held_out if some else halves.trained
    if isinstance(dataset.train, LargeTable):
        dataset = dataclasses.replace(dataset, train=dataset.train.at(chosen))
        chosen = np.arange(len(dataset.train))
    labels = labels_of(dataset, fitted)
    return Rows(_some(dataset.train, chosen), None if labels is None else labels[chosen], name)


def rows_for(fitted: Fitted, data: str | None, data_dir: str | None) -> Rows:
    """Return the rows to evaluate a run on; of the run's own data, those it did not train on.

    Raises:
        LogvarError: no data are given, and the run's data have changed since.
    """
    dataset = load_for(fitted, data, data_dir)
    trained_on = halves_of(dataset, fitted).trained_of(fitted.take_in(dataset.train).rows)
    if fitted.data.get("sha256") in sources.fingerprints(trained_on):
        return judged_rows(dataset, fitted)
    if data is None:
        raise LogvarError(
            f"{fitted.recipe.data.data} is not what this run was fitted on (its fingerprint "
            "differs), so rows that trained it cannot be told from others: restore it, or give DATA"
        )
    if dataset.test is not None:
        return Rows(dataset.test, dataset.test_labels, f"test set of {dataset.name}")
    return Rows(dataset.train, labels_of(dataset, fitted), f"all rows of {dataset.name}")


def labels_of(dataset: Dataset, fitted: Fitted) -> np.ndarray | None:
    """Return the label of each row: the first column that the schema calls one, if any."""
    if not isinstance(dataset.train, Table) or fitted.table is None:
        return dataset.train_labels
    found = columns_of_kinds(dataset.train, fitted.table.schema, ("label",))
    if found is None:
        return None
    from logvar.data.table.arrow import plain

    return np.array([str(cell) for cell in plain(found.columns[0]).to_pylist()])


def _some(rows: Some, indices: np.ndarray) -> Some:
    return rows_of(rows, indices) if isinstance(rows, Table) else rows[indices]


def _matched(table: Table, form: TableForm, source: str, choices: Choices) -> Table:
    """Read a file of few rows with the header that gives it the run's columns.

    Whether the first row has names is seen from those below it, and a new file may have too few of
    them. A table for a run without names of columns is matched by position, which is said.
    """
    wanted = {str(column.name).strip() for column in form.schema.modelled}
    if wanted <= _names(table):
        return table
    if choices.header == "auto" and ending(source, TABLES)[:4] in (".csv", ".tsv"):
        for header in ("yes", "no"):
            again = read_table(source, header)
            if wanted <= _names(again):
                return again
    unnamed = all(isinstance(name, int) for name in form.schema.names)
    if unnamed and len(table.names) == len(form.schema):
        say(f"{source}: columns are matched by position, for the run was fitted on an array")
        return dataclasses.replace(table, names=form.schema.names, notes={}, row_labels=())
    return table


def _names(table: Table) -> set[str]:
    return {str(name).strip() for name in table.names}
