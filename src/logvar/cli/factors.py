"""The known factors of some rows, for `logvar evaluate --factors`."""

import numpy as np

from logvar.data import drawn, sources
from logvar.data.paths import BUILT_IN
from logvar.data.table.frame import Table
from logvar.data.table.large import LargeTable
from logvar.errors import LogvarError


def known_factors(source: str) -> dict[str, np.ndarray]:
    """Return the columns of a table of factors; `shapes` are those of the built-in test set.

    Raises:
        LogvarError: the file cannot be read, is no table, or has missing cells.
    """
    if source == "shapes":
        return drawn.built_in()[1].factors
    if source in BUILT_IN:
        raise LogvarError(f"--factors {source}: it has no known factors; give a table, or shapes")
    loaded = sources.load(source).train
    if isinstance(loaded, LargeTable):
        loaded = loaded.whole()
    if not isinstance(loaded, Table):
        if loaded.ndim != 2:
            raise LogvarError(f"--factors {source} has shape {loaded.shape}: expected a table")
        return {str(k): column for k, column in enumerate(loaded.T)}
    from logvar.data.table.arrow import plain

    found = {}
    for name, column in zip(loaded.names, loaded.columns, strict=True):
        cells = plain(column).to_pylist()
        if None in cells:
            raise LogvarError(
                f"--factors {source}: column {name!r} is empty in row {cells.index(None)}; "
                "expected the factors of every row"
            )
        found[str(name)] = np.array(cells)
    return found
