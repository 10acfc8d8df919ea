"""The result of training: a model with everything needed to use it.

It is saved in a run folder, converted, examined and reported on; estimators wrap it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from logvar import assembly
from logvar.assembly import Own
from logvar.assembly.conditioning import told_again
from logvar.assembly.decisions import Decisions
from logvar.assembly.parts import get
from logvar.assembly.tables import ARRAY, Intake, numbers_per_cell, taken_in_again
from logvar.backend.sparse import Rows, SparseRows
from logvar.data.conditions import Conditions
from logvar.data.examples import Examples, Units
from logvar.data.images.writing import own_units
from logvar.data.intake import dense_rows, read_as
from logvar.data.labels import Labels
from logvar.data.preparation import Preparation, as_float32, has_missing
from logvar.data.table.form import TableForm
from logvar.data.table.frame import Table, back
from logvar.data.table.rows import with_columns
from logvar.data.table.schema import Schema
from logvar.data.table.units import TableUnits
from logvar.data.windows import Window, window_for
from logvar.errors import LogvarError
from logvar.evaluation.coding import draw
from logvar.evaluation.surprise import ROWS, usual_log_likelihood
from logvar.likelihoods import LikelihoodSpec
from logvar.models.vae import VAEModel
from logvar.recipe import Recipe
from logvar.training.divergence.diagnosis import Diagnosis
from logvar.training.loop import Trained
from logvar.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained model, its recipe, and how it reads rows."""

    recipe: Recipe
    decisions: Decisions
    model: VAEModel
    preparation: Preparation
    units: Units | None
    shape: tuple[int, ...]
    """The shape of one example."""
    dtype: str
    """The dtype of examples in the data's own units."""
    history: list[dict[str, Any]]
    """One entry for each epoch, as in metrics.jsonl."""
    ended: str
    """"finished", "stopped early", "interrupted" or "not finite"; without training of our own "not
    trained" or "imported"."""
    data: dict[str, Any]
    """Identifies the training rows."""
    own: Own = Own()  # noqa: RUF009
    """Parts that the user passed as objects."""
    state: TrainState | None = None
    """The state to continue training from."""
    diagnosis: Diagnosis | str | None = None
    """The first quantity that was NaN or infinite, and why, if that ended training."""
    rescues: Sequence[Diagnosis | str] = ()
    """A diagnosis for each rescue."""
    table: TableForm | None = None
    """The form of the table that the training rows are from."""
    features: tuple[str, ...] | None = None
    """The names of the columns, if the training rows are no table and yet have names: genes."""
    conditions: Conditions | None = None
    """The conditions of the model, if it has any."""
    labels: Labels | None = None
    """The labels that the model tells apart, if it learned any."""

    @classmethod
    def before_training(cls, run: assembly.Run, own: Own) -> "Fitted":
        """Return the model that a run starts from, and how it reads rows."""
        return cls(
            run.recipe,
            run.decisions,
            run.model,
            run.prepared,
            run.units,
            run.shape,
            run.dtype,
            history=[],
            ended="not trained",
            data={},
            own=own,
            table=run.table,
            features=run.features,
            conditions=run.conditions,
            labels=run.labels,
        )

    @classmethod
    def of_run(
        cls,
        run: assembly.Run,
        trained: Trained,
        data: dict[str, Any],
        own: Own,
    ) -> "Fitted":
        """Collect the result of a run."""
        return dataclasses.replace(
            cls.before_training(run, own),
            model=trained.model,
            history=[metrics.as_dict() for metrics in trained.history],
            ended=trained.ended,
            data=data,
            state=trained.state,
            diagnosis=trained.diagnosis,
            rescues=tuple(trained.rescues),
        )

    @property
    def seed(self) -> int:
        return self.recipe.training.random_state

    @property
    def latent_dim(self) -> int:
        return self.model.latent_dim

    def window(self, rows: int) -> Window:
        """Return how many of so many rows were shuffled at a time, and how many could be held out:
        a function of the recipe and of the data's form."""
        cells = math.prod(self.shape)
        numbers = 4 * numbers_per_cell(self.table)
        size = cells if self.dtype == "uint8" and self.table is None else numbers * cells
        return window_for(self.recipe.training.window, rows, max(1, size))

    @property
    def likelihood(self) -> LikelihoodSpec:
        """The specification of the likelihood, with its settings from the data."""
        return get("likelihood", self.decisions.likelihood, self.own.classes)

    def take_in(self, X: Any, name: str = "X", condition: Any = None) -> Intake:
        """Return X as rows, its columns in the order of the training rows, and its condition.

        Raises:
            LogvarError: X lacks a column, or cannot be read; a condition is absent or does not fit.
        """
        layer = self.recipe.data.layer
        given = taken_in_again(X, self.table, name, features=self.features, layer=layer)
        return given._replace(condition=told_again(self.conditions, given, X, condition, name))

    def told(self, condition: Any, rows: int) -> np.ndarray | None:
        """Return the condition of rows that have nothing else: latents, or draws to come.

        Raises:
            LogvarError: it is absent and the model needs one, or the reverse; or it does not fit.
        """
        nothing = Intake(np.empty((rows, 0)), None)
        return told_again(self.conditions, nothing, None, condition, "this call")

    def told_columns(self, condition: Any, rows: int) -> Table | None:
        """Return a condition as the columns that it has in the table of `fit`; None if it has none
        there."""
        form = self.conditions
        return form.table(condition, rows) if form is not None and form.inside else None

    def usual_condition(self, rows: int) -> np.ndarray | None:
        """Return conditions of training rows, over and over; None if the model has none."""
        usual = None if self.conditions is None else self.conditions.usual
        return None if usual is None else usual[np.arange(rows) % len(usual)]

    def read(
        self, rows: Rows, condition: np.ndarray | None = None, holes: bool = False
    ) -> tuple[Examples, Preparation]:
        """Return rows in the data's own units as the model reads them, and the preparation.

        Args:
            rows: the rows.
            condition: (rows, size), for a conditional model.
            holes: whether to read them as rows that may have missing cells, if they have none.

        Raises:
            LogvarError: the likelihood cannot score a value.
        """
        if isinstance(rows, SparseRows) and not self.likelihood.reads_sparse:
            dense_rows(rows)
        preparation = self.preparation
        if self.likelihood.reads_intensities:
            preparation = read_as(preparation, as_float32(rows), bits=self.decisions.bits)
        self.likelihood.check_new(rows)
        examples = assembly.read(rows, preparation, self.seed, self.units)
        examples = dataclasses.replace(examples, condition=condition)
        missing = preparation.missing or holes or has_missing(rows)
        return examples, dataclasses.replace(preparation, missing=missing).after_fixing

    @property
    def is_binary(self) -> bool:
        """Whether examples are uint8 of 0 and 1, of which the model gives probabilities."""
        return (
            self.dtype == "uint8"
            and self.likelihood.reads_intensities
            and self.preparation.divisor == 1
        )

    def in_own_units(self, values: np.ndarray) -> np.ndarray:
        """Convert x from the model's units to the data's; pixels become uint8 again."""
        if self.units is not None:
            return self.units.to_user(values)
        return own_units(values, self.dtype, self.preparation.divisor, binary=self.is_binary)

    def as_given(
        self,
        cells: np.ndarray,
        like: Table | None = None,
        kept: np.ndarray | None = None,
        *,
        beside: Table | None = None,
        first: int = 0,
    ) -> Any:
        """Return cells in the data's own units as the rows of `fit` came: a frame, or an array.

        Args:
            cells: (rows, *shape).
            like: the table they belong to, for its columns that are not modelled.
            kept: (rows, *shape), which cells of that table stay as they are.
            beside: columns that are not modelled, for a table of new rows.
            first: how many new rows came before these.
        """
        if self.table is None:
            return cells
        container = self.table.container if like is None else like.container
        from logvar.data.table.cells import table_of  # imports pyarrow

        wide = np.asarray(cells, np.float64)
        made = table_of(wide, self.table.schema, container, like, kept, first)
        table = with_columns(made, beside)
        if container == ARRAY:
            return np.column_stack([column.to_numpy() for column in table.columns])
        return back(table, container)

    def given_back(self, values: np.ndarray, like: Table | None = None) -> Any:
        """Return x in the model's units as the rows of `fit` came."""
        return self.as_given(self.in_own_units(values), like)

    @property
    def column_names(self) -> list[Any]:
        """The names of the modelled columns; their numbers if they have none."""
        if self.table is None:
            return list(self.features or range(self.shape[0]))
        return [column.name for column in self.table.schema.modelled]

    def value_of(self, given: Intake, row: int, column: int) -> Any:
        """Return a cell as it was given."""
        if given.table is None:
            one = given.rows[row : row + 1]
            return (one.dense() if isinstance(one, SparseRows) else one)[0, column].item()
        value = given.table[self.column_names[column]][row].as_py()
        return value.strip() if isinstance(value, str) else value

    @cached_property
    def usual_cells(self) -> np.ndarray:
        """The usual log p(x_j | the row's other cells) of each cell, nats."""
        told = self.usual_condition(ROWS)
        drawn = draw(self.model, ROWS, self.seed, mean=False, condition=told)
        cells = self.in_own_units(drawn)
        scored = self.likelihood.can_score(cells)
        examples, preparation = self.read(cells[scored], None if told is None else told[scored])
        return usual_log_likelihood(self.model, examples, preparation, self.seed)

    def leaving_out(self, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return what leaves cells out of one block of rows after another, as they are left out of
        the training rows.

        Raises:
            LogvarError: it is not known which are, because no table was fitted by its columns.
        """
        if not isinstance(self.units, TableUnits):
            raise LogvarError(
                "missing=True (--missing) needs a table fitted with likelihood 'mixed', whose "
                "missing cells it imitates: leave it out"
            )
        drawn = self.units.holes.drawing(seed)
        return lambda cells: np.where(drawn(len(cells)), np.nan, cells)


class FittedAttributes:
    """The result of training, as attributes with scikit-learn's names for an estimator."""

    fitted_: Fitted

    @property
    def model_(self) -> VAEModel:
        return self.fitted_.model

    @property
    def recipe_(self) -> Recipe:
        return self.fitted_.recipe

    @property
    def decisions_(self) -> Decisions:
        return self.fitted_.decisions

    @property
    def schema_(self) -> Schema | None:
        """The kinds of the columns and why; None if X was no table."""
        return None if self.fitted_.table is None else self.fitted_.table.schema

    @property
    def history_(self) -> list[dict[str, Any]]:
        return self.fitted_.history

    @property
    def n_iter_(self) -> int:
        return len(self.fitted_.history)

    @property
    def ended_(self) -> str:
        return self.fitted_.ended

    @property
    def data_(self) -> dict[str, Any]:
        return self.fitted_.data

    @property
    def diagnosis_(self) -> Diagnosis | str | None:
        return self.fitted_.diagnosis

    @property
    def rescues_(self) -> list[Diagnosis | str]:
        return list(self.fitted_.rescues)

    @property
    def _n_features_out(self) -> int:
        return self.fitted_.latent_dim


class PartAndMethod:
    """Lets `vae.posterior(X)` be a method while `posterior` is also a scikit-learn parameter.

    Reading the name gives the method; assigning to it sets the parameter, which `get_params` has.
    """

    def __init__(self, name: str, method: Callable):
        self._name = name
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, estimator: Any, owner: type) -> Any:
        return self._method if estimator is None else self._method.__get__(estimator, owner)

    def __set__(self, estimator: Any, part: Any) -> None:
        vars(estimator)[self._name] = part
