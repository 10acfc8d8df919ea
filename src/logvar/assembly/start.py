"""A trained model to start from: its weights, and how it reads rows."""

import dataclasses

from logvar.assembly.decisions import Decisions
from logvar.assembly.parts import Classes, get
from logvar.backend.sparse import Rows, array_of
from logvar.data.examples import Units
from logvar.data.standardization import Standardization
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError
from logvar.models.vae import VAEModel
from logvar.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Start:
    """What a new run takes over from an earlier one (`VAE(from_run=…)`)."""

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
    features: tuple[str, ...] | None = None

    def table_for(self, schema: object) -> TableForm | None:
        """Return the form of the earlier run's table.

        Raises:
            LogvarError: another schema is asked for.
        """
        if schema and not (self.table is not None and schema == self.table.schema):
            raise LogvarError(
                f"schema was given, and {self.name} has one already: leave it out to start from "
                "its weights"
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

    def units_for(self, rows: Rows) -> Units | None:
        """Return the earlier run's units, whose range also covers the new training rows."""
        if not isinstance(self.units, Standardization):
            return self.units
        return self.units.covering(array_of(rows))
