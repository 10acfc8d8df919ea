"""A trained model to start from: its weights, and how it reads rows."""

import dataclasses
from collections.abc import Callable

from jaxtyping import PyTree

from logvar.assembly.decisions import Decisions
from logvar.assembly.extending import extended, only_new
from logvar.assembly.parts import Classes, get
from logvar.backend.sparse import Rows, array_of
from logvar.data.conditions import Conditions
from logvar.data.examples import Units
from logvar.data.standardization import Standardization
from logvar.data.table.form import TableForm
from logvar.data.table.said import says_again
from logvar.errors import LogvarError
from logvar.models.vae import VAEModel
from logvar.recipe import CUSTOM, Recipe
from logvar.rescaling.matching import coordinates
from logvar.training import optimizers

Build = Callable[[int], VAEModel]


@dataclasses.dataclass(frozen=True)
class Start:
    """The parts of an earlier run that a new one continues from (`VAE(from_run=…)`)."""

    name: str
    """The earlier run's folder, for messages."""
    sha256: str
    """Of its weights: a resumed run must start from the same."""
    recipe: Recipe
    decisions: Decisions
    model: VAEModel
    units: Units | None
    shape: tuple[int, ...]
    table: TableForm | None
    conditions: Conditions | None
    """The conditions of the earlier model."""
    features: tuple[str, ...] | None = None

    def table_for(self, schema: object) -> TableForm | None:
        """Return the form of the earlier run's table.

        Args:
            schema: what is said of columns; it may say again what they are.

        Raises:
            LogvarError: another schema is asked for.
        """
        if schema and not (self.table is not None and says_again(schema, self.table.schema)):
            raise LogvarError(
                f"schema was given, and {self.name} has one already, which differs: leave it out "
                "(--schema, --kind, --drop, --id, --label, --condition) to start from its weights"
            )
        return self.table

    def decisions_for(self, own: Classes, *tables: Rows | None) -> Decisions:
        """Return the earlier run's decisions, after checking that they fit the new rows.

        Raises:
            LogvarError: the rows have another shape, or the likelihood cannot read a value.
        """
        spec = get("likelihood", self.decisions.likelihood, own)
        for rows in tables:
            if rows is None:
                continue
            if rows.shape[1:] != self.shape:
                raise LogvarError(
                    f"X has examples of shape {rows.shape[1:]}, and {self.name} was trained on "
                    f"{self.shape}: give rows of that shape, or fit without from_run"
                )
            spec.check_new(rows)
        why = (f"weights, likelihood and units are those of {self.name}",)
        return dataclasses.replace(self.decisions, why=why, notes=())

    def model_for(
        self, recipe: Recipe, size: int, conditions: Conditions | None, build: Build
    ) -> tuple[VAEModel, PyTree]:
        """Return the model to start from, and the coordinates to train it in.

        With new levels of a condition, only their weights train.

        Args:
            recipe: the new run's.
            size: the number of values of its condition.
            conditions: what they are.
            build: builds an untrained model for a condition of that many values.

        Raises:
            LogvarError: a network cannot take a new level, or the optimizer would move all weights.
        """
        if size == self.model.condition_size:
            return self.model, coordinates(self.model)
        assert conditions is not None and self.conditions is not None  # `told_first` has checked
        text = recipe.training.optimizer
        if text == CUSTOM or getattr(optimizers.get(text), "weight_decay", False):
            raise LogvarError(
                f"a new level of a condition trains alone, and optimizer {text!r} may move every "
                "weight: use one of logvar's own without weight_decay"
            )
        wider, sources = build(size), self.conditions.sources_in(conditions)
        model = extended(self.model, wider, sources)
        return model, only_new(self.model, wider, sources)

    def units_for(self, rows: Rows) -> Units | None:
        """Return the earlier run's units, whose range also covers the new training rows."""
        if not isinstance(self.units, Standardization):
            return self.units
        return self.units.covering(array_of(rows))
