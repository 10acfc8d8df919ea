"""The data of a fit: rows to train on, rows held out, and what belongs to each of them."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from logvar.assembly.tables import Intake, numbers_per_cell
from logvar.backend.sparse import Rows
from logvar.data.conditions import Told
from logvar.data.intake import alike, counted, counting_rows
from logvar.data.labels import Codes, Labels
from logvar.data.splitting import split_of
from logvar.data.table.form import TableForm
from logvar.data.windows import Window, window_of
from logvar.recipe import TrainingSettings


class Beside(NamedTuple):
    """The arguments of `fit` beside X and y, as they were given."""

    sample_weight: Any
    validation_data: Any
    condition: Any
    validation_condition: Any

    @property
    def held_out(self) -> Any:
        """The rows to hold out, which may come as a pair with their y; None for a share of X."""
        given = self.validation_data
        return given[0] if isinstance(given, tuple) else given


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """The data of a run.

    Args:
        rows: the training rows; before `divided`, all rows that count.
        validation: rows for early stopping, or None.
        weight: (rows,), how much each row counts in the loss; None if all count the same.
        held_out_weight: the same for the held-out ELBO.
        table: the form of the table that the rows are cells of, if they are.
        features: the names of the columns, if the rows are no table and yet have names: genes.
        told: what the model is told of each row.
        label: (rows,) int32, the number of each row's label, which is to be learned; −1 if unknown.
        labels: what these labels are.
        window: how many rows are shuffled at a time; all if it is not given.
    """

    rows: Rows
    validation: Rows | None = None
    weight: Float[np.ndarray, "rows"] | None = None
    held_out_weight: Float[np.ndarray, "held_out"] | None = None
    table: TableForm | None = None
    features: tuple[str, ...] | None = None
    told: Told | None = None
    label: Codes | None = None
    labels: Labels | None = None
    window: Window | None = None

    @classmethod
    def counting(
        cls,
        given: Intake,
        sample_weight: Any,
        window: int | str,
        told: Told | None = None,
        label: Codes | None = None,
        labels: Labels | None = None,
    ) -> "TrainingData":
        """Return the rows that count, with what belongs to them; those of weight 0 are left out.

        Args:
            given: X, taken in.
            sample_weight: how much each of its rows counts, as `fit` has it.
            window: rows shuffled at a time, as the recipe says it.
            told: what the model is told of each row of X.
            label: the number of the label of each row of X.
            labels: what these labels are.

        Raises:
            LogvarError: the weights do not fit, or leave fewer than two rows.
        """
        rows, weight = counted(given.rows, sample_weight)
        kept = counting_rows(sample_weight, len(given.rows))
        if kept is not None:
            told = None if told is None else told.at(kept, kept[:0])
            label = None if label is None else label[kept]
        return cls(
            rows,
            weight=weight,
            table=given.form,
            features=given.features,
            told=told,
            label=label,
            labels=labels,
            window=window_of(window, given.rows, numbers_per_cell(given.form)),
        )

    def divided(self, validation: Rows | None, settings: TrainingSettings) -> "TrainingData":
        """Hold out the given rows, or else a share of these.

        Args:
            validation: rows to hold out; each counts the same.
            settings: how many are held out otherwise, and the seed that says which.

        Raises:
            LogvarError: the given rows are of another shape or another kind.
        """
        if validation is not None:
            return dataclasses.replace(self, validation=alike(validation, self.rows))
        assert self.window is not None
        share, seed = settings.validation_fraction, settings.random_state
        halves = split_of(len(self.rows), share, seed, self.window)
        held_out, weight, told, label = halves.held_out, self.weight, self.told, self.label
        some = len(held_out) > 0
        return dataclasses.replace(
            self,
            rows=halves.trained_of(self.rows),
            validation=self.rows[held_out] if some else None,
            # `halves.trained` is as long as the rows: made only for what needs it.
            weight=None if weight is None else weight[halves.trained],
            held_out_weight=None if weight is None or not some else weight[held_out],
            told=None if told is None else told.at(halves.trained, held_out),
            label=None if label is None else label[halves.trained],
        )
