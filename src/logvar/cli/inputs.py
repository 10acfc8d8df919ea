"""The data of a command: read as the run's own were, and matched with its columns."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logvar.assembly.tables import Intake
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
from logvar.data.windows import ALL, AUTO
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.fitted import Fitted

Some = Any
"""An array, sparse rows, a `Table` or an AnnData object."""


class Rows(NamedTuple):
    """The rows to evaluate a run on."""

    rows: Some
    taken: Intake
    """As the model is given them."""
    labels: np.ndarray | None
    split: str

    @property
    def shown(self) -> Any:
        """The rows for a report, whose cells are not computed again if they are a table's."""
        return self.rows if self.taken.table is None else self.taken


class Given(NamedTuple):
    """All rows of the data, and what they carry with them."""

    parts: tuple[Some, ...]
    """The rows, as they are read: training rows, and the test rows after them if there are any."""
    name: str
    """Their name in messages."""
    files: tuple[str, ...] = ()
    """The file of each row, if each has its own."""
    identifiers: Table | None = None
    """Columns that name the rows, if these are no table."""
    carried: Table | None = None
    """These and their labels."""

    def __len__(self) -> int:
        return sum(each.shape[0] if is_annotated(each) else len(each) for each in self.parts)


def load_for(
    fitted: Fitted, data: str | None, data_dir: str | None, *, in_parts: bool = False
) -> Dataset:
    """Load data for a run, its own or others, read as those it was fitted on.

    Args:
        fitted: the run.
        data: which data; None for its own.
        data_dir: where mnist is.
        in_parts: open large files instead of reading them, however the run was trained.

    Raises:
        LogvarError: the data cannot be read this way, they have other columns, or the run does not
            know its own.
    """
    recipe = fitted.recipe
    source = data or recipe.data.data
    if not source:
        raise LogvarError("no path of its data is in this run (fitted in Python?): give DATA")
    absent = not Path(source).exists() and not is_pattern(source)
    if not data and source not in BUILT_IN and absent:
        raise LogvarError(
            f"this run was fitted on {source}, which no longer exists: restore it, or give DATA"
        )
    choices = Choices.of(recipe.data)
    window = recipe.training.window
    dataset = sources.load(
        source,
        data_dir,
        reading=recipe.data.reading,
        choices=choices,
        window=AUTO if in_parts and window == ALL else window,
    )
    if isinstance(dataset.train, Table) and fitted.table is not None:
        table = _matched(dataset.train, fitted.table, source, choices)
        dataset = dataclasses.replace(dataset, train=table, notes=table.remarks)
    if data:
        for note in dataset.notes:
            say(note)
    return dataset


def all_rows(vae: VAE, data: str | None, data_dir: str | None) -> Given:
    """Return training and test rows one after the other; large files are read in parts."""
    dataset = load_for(vae.fitted_, data, data_dir, in_parts=True)
    source = vae.recipe_.data
    return rows_of_all(dataset, data or source.data, Choices.of(source))


def rows_of_all(dataset: Dataset, name: str, choices: Choices) -> Given:
    """Return a source's training and test rows one after the other, with what names them.

    Args:
        dataset: the source.
        name: what messages call it.
        choices: which columns of an .h5ad file's obs name the rows, and which are labels.
    """
    rows = dataset.train
    if is_annotated(rows):
        identifiers, labels = named_columns(rows, choices.said())
        names: dict[Any, Any] = {
            rows.obs.index.name or "cell": list(map(str, rows.obs_names)),
            **identifiers,
        }
        return Given((rows,), name, (), beside(None, names), beside(None, names | labels))
    if dataset.test is None:
        return Given((rows,), name, dataset.names)
    return Given((rows, dataset.test), name, dataset.names + dataset.test_names)


def given_for(fitted: Fitted, rows: Some, name: str = "X") -> Intake:
    """Return rows as the numbers that a fitted model is given, with their condition.

    Args:
        fitted: the model.
        rows: as they were read.
        name: what messages call them.
    """
    given = fitted.take_in(rows, name)
    return given._replace(rows=fitting(given.rows, fitted.shape, name))


def halves_of(dataset: Dataset, fitted: Fitted) -> Halves:
    """Return which rows of the training set `fit` trains on, and holds out."""
    settings, n = fitted.recipe.training, len(dataset.train)
    return split_of(n, settings.validation_fraction, settings.random_state, fitted.window(n))


def judged_rows(dataset: Dataset, fitted: Fitted) -> Rows:
    """Return the test set if there is one, otherwise the rows held out from training."""
    if dataset.test is not None:
        return Rows(dataset.test, given_for(fitted, dataset.test), dataset.test_labels, "test")
    split, chosen = _judged(dataset, fitted)
    if isinstance(dataset.train, LargeTable):
        dataset = dataclasses.replace(dataset, train=rows_at(dataset.train, chosen))
        chosen = np.arange(len(dataset.train))
    labels = labels_of(dataset, fitted)
    rows = rows_at(dataset.train, chosen)
    taken = given_for(fitted, rows)
    return Rows(rows, taken, None if labels is None else labels[chosen], split)


def _judged(dataset: Dataset, fitted: Fitted) -> tuple[str, np.ndarray]:
    """Return which of the training set's rows judge a run, in words and by their numbers."""
    halves = halves_of(dataset, fitted)
    if len(halves.held_out):
        return "held out, also used to stop early", halves.held_out
    return "train (nothing was held out)", halves.trained


def rows_for(fitted: Fitted, data: str | None, data_dir: str | None) -> Rows:
    """Return the rows to evaluate a run on; of the run's own data, those it did not train on.

    Raises:
        LogvarError: no data are given, and the run's data have changed since.
    """
    dataset = load_for(fitted, data, data_dir)
    # Cells are computed once, for the fingerprint and for whatever is judged.
    taken = given_for(fitted, dataset.train, data or fitted.recipe.data.data)
    trained_on = halves_of(dataset, fitted).trained_of(taken.rows)
    if fitted.data.get("sha256") in sources.fingerprints(trained_on):
        if dataset.test is not None or isinstance(dataset.train, LargeTable):
            return judged_rows(dataset, fitted)
        split, chosen = _judged(dataset, fitted)
        labels = labels_of(dataset, fitted)
        rows = rows_at(dataset.train, chosen)
        return Rows(rows, taken.at(chosen), None if labels is None else labels[chosen], split)
    if data is None:
        raise LogvarError(
            f"{fitted.recipe.data.data} has changed since this run was fitted (its fingerprint "
            "differs), so training rows cannot be told from held-out ones: restore it, or give DATA"
        )
    if dataset.test is not None:
        taken = given_for(fitted, dataset.test)
        return Rows(dataset.test, taken, dataset.test_labels, f"test set of {dataset.name}")
    return Rows(dataset.train, taken, labels_of(dataset, fitted), f"all rows of {dataset.name}")


def labels_of(dataset: Dataset, fitted: Fitted) -> np.ndarray | None:
    """Return the label of each row: the first column that the schema calls one, if any."""
    if not isinstance(dataset.train, Table) or fitted.table is None:
        return dataset.train_labels
    found = columns_of_kinds(dataset.train, fitted.table.schema, ("label",))
    if found is None:
        return None
    from logvar.data.table.arrow import plain

    return np.array([str(cell) for cell in plain(found.columns[0]).to_pylist()])


def rows_at(rows: Some, numbers: np.ndarray) -> Some:
    """Return rows by their numbers, which must increase where rows are read when needed."""
    if isinstance(rows, LargeTable):
        return rows.at(numbers)
    return rows_of(rows, numbers) if isinstance(rows, Table) else rows[numbers]


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
            with contextlib.suppress(LogvarError):  # of a row of data that gives no names
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
