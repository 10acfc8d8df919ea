"""The form of a table, kept with a fitted model: the schema, and the container that came in."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from logvar.data.table.frame import as_table, back
from logvar.data.table.schema import Schema

if TYPE_CHECKING:
    from logvar.data.table.cells import Cells
    from logvar.data.table.frame import Table

_KEY = "container"


@dataclasses.dataclass(frozen=True)
class TableForm:
    """How to read any table as the fitted one was read, and to give cells back as it came.

    Example:
        >>> from logvar.data.table.kinds import found
        >>> table = as_table({"age": [39, 50], "sex": ["F", "M"]})
        >>> form = TableForm(found(table), table.container)
        >>> form.cells({"sex": ["M"], "age": [None]})
        array([[nan,  1.]])
        >>> form.native(np.array([[41.7, 0.0]]))
        {'age': [42], 'sex': ['F']}
    """

    schema: Schema
    container: str
    plain: bool = False
    """Whether all columns are real numbers shaped like a bell, which one Normal models as well."""

    def cells(self, X: Any, name: str = "X", unknown: str = "error") -> "Cells":
        """Return X's cells, its columns matched by name; see `cells_of`."""
        from logvar.data.table.cells import cells_of

        return cells_of(as_table(X, name), self.schema, name, unknown)

    def native(
        self, cells: "Cells", carried: "Table | None" = None, kept: np.ndarray | None = None
    ) -> Any:
        """Return cells as the container that came in; see `table_of`."""
        from logvar.data.table.cells import table_of

        return back(table_of(cells, self.schema, self.container, carried, kept), self.container)

    def as_toml(self) -> str:
        """Return the text of a run's schema.toml."""
        import tomli_w

        return f"{tomli_w.dumps({_KEY: self.container})}\n{self.schema.as_toml()}"

    @staticmethod
    def from_toml(text: str) -> "TableForm":
        """Read what `as_toml` writes.

        Raises:
            LogvarError: the text is not valid.
        """
        import tomllib

        schema = Schema.from_toml(text)
        return TableForm(schema, str(tomllib.loads(text).get(_KEY, "arrow")))
