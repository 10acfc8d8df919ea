"""The rows and samples that a report on a table shows, read once for all of its sections."""

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from logvar.assembly.tables import Intake
from logvar.data.table.frame import Table, as_table
from logvar.data.table.schema import Column, Name, Schema
from logvar.evaluation.coding import draw
from logvar.fitted import Fitted

if TYPE_CHECKING:
    from logvar.estimator import VAE

MOST_ROWS, FEWEST_SAMPLES = 5000, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class TableView:
    """Rows of a table that a model is judged on, beside samples from it."""

    vae: "VAE"
    table: Table
    cells: Float[np.ndarray, "rows columns"]
    samples: Float[np.ndarray, "samples columns"]
    control: Float[np.ndarray, "rows columns"]
    """As many further samples as rows, with the rows' holes: how far they are from the samples is
    how far data like the samples would be by chance."""
    places: np.ndarray
    """Which of the given rows are shown, from 0."""
    given: int
    """How many rows were given."""
    split: str
    labels: np.ndarray | None
    label_name: str
    seed: int
    condition: np.ndarray | None = None
    """(rows, size), what a conditional model is told of each row."""

    @classmethod
    def of(cls, vae: "VAE", rows: Any, labels: np.ndarray | None, split: str) -> "TableView":
        """Read rows as the model was fitted, at most `MOST_ROWS`, evenly spaced, and draw samples.

        Args:
            vae: an estimator fitted on a table.
            rows: a table, as for `vae.transform`, or its intake.
            labels: a label for each row.
            split: which rows these are, in words.
        """
        fitted: Fitted = vae.fitted_
        assert fitted.table is not None
        is_taken = isinstance(rows, Intake)
        taken = rows if is_taken else fitted.take_in(as_table(rows, "rows"))
        assert taken.table is not None
        n = len(taken.rows)
        places = np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(int))
        table = _some_rows(taken.table, places)
        count = max(len(places), FEWEST_SAMPLES)
        told = None if taken.condition is None else taken.condition[places]
        n_drawn = count + len(places)
        usual = fitted.usual_condition(count)
        like = None if told is None or usual is None else np.concatenate([usual, told])
        drawn = draw(vae.model_, n_drawn, fitted.seed, mean=False, condition=like)
        names = [column.name for column in fitted.table.schema if column.kind == "label"]
        label_name = text_of(names[0]) if names else ""
        if labels is not None:
            labels = np.asarray(labels)[places]
        elif names and names[0] in table.names:
            labels = np.array(table[names[0]].to_pylist(), object)
        cells = np.asarray(taken.rows[places], np.float64)
        samples = np.asarray(fitted.in_own_units(drawn), np.float64)
        control = np.where(np.isnan(cells), np.nan, samples[count:])
        return cls(
            vae, table, cells, samples[:count], control, places, n, split, labels, label_name,
            fitted.seed, told,
        )  # fmt: skip

    @property
    def fitted(self) -> Fitted:
        return self.vae.fitted_

    @property
    def schema(self) -> Schema:
        """The columns of the table."""
        assert self.fitted.table is not None
        return self.fitted.table.schema

    @property
    def columns(self) -> tuple[Column, ...]:
        """The modelled columns, those of the cells."""
        return self.schema.modelled

    @cached_property
    def names(self) -> list[str]:
        """The modelled columns' names as texts."""
        return [text_of(column.name) for column in self.columns]

    @cached_property
    def codes(self) -> np.ndarray:
        """The posterior mean of each row."""
        return np.asarray(self.vae.transform(self.table))

    @property
    def which_rows(self) -> str:
        """Say which rows are shown."""
        some = len(self.places)
        if some < self.given:
            return f"{some:,} of {self.given:,} rows, evenly spaced ({self.split})"
        return f"{some:,} rows ({self.split})"

    @property
    def which_samples(self) -> str:
        """Say which samples are shown."""
        return f"{len(self.samples):,} samples (seed {self.seed})"


def text_of(name: Name) -> str:
    """Return a column's name as text."""
    return str(name).strip()


def _some_rows(table: Table, places: np.ndarray) -> Table:
    import pyarrow as pa

    columns = tuple(column.take(pa.array(places)) for column in table.columns)
    return dataclasses.replace(table, columns=columns, index=None)
