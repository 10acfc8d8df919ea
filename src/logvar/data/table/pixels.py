"""A table whose columns are the pixels of images, with a label perhaps."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from logvar.data.table.frame import Table
from logvar.data.table.schema import MODELLED, Name
from logvar.errors import LogvarError


class Pixels(NamedTuple):
    """The columns of a table as one array, and the labels of its rows if it has some."""

    rows: np.ndarray
    labels: np.ndarray | None


def pixels_of(table: Table, said: Mapping[Name, str], name: str) -> Pixels:
    """Return the columns of a table as pixels: all but those said to be something else.

    Args:
        table: the table.
        said: the kinds of some columns; a label, an identifier or an ignored one is no pixel.
        name: what messages call the table.

    Raises:
        LogvarError: a column holds no numbers; all such columns are named.

    Example:
        >>> from logvar.data.table.frame import as_table
        >>> table = as_table({"digit": [3, 1], "p0": [0, 255], "p1": [7, 0]})
        >>> pixels_of(table, {"digit": "label"}, "digits.csv").rows
        array([[  0.,   7.],
               [255.,   0.]])
    """
    from logvar.data.table.arrow import family, numbers, plain

    kinds = {str(column).strip(): kind for column, kind in said.items()}
    pixels, labels, texts = [], None, []
    for column_name, column in zip(table.names, table.columns, strict=True):
        kind = kinds.get(str(column_name).strip(), "real")
        if kind == "label":
            labels = np.array([str(cell) for cell in plain(column).to_pylist()])
        if kind not in MODELLED or column_name in table.row_labels:
            continue
        if family(column.type) in ("integer", "float", "decimal", "boolean"):
            pixels.append(numbers(column))
        else:
            texts.append(str(column_name))
    if texts:
        raise LogvarError(
            f"{name}: --shape reads every column as a pixel, and {len(texts)} hold no numbers "
            f"({', '.join(texts[:5])}): leave them out with --drop, or give --label"
        )
    if not pixels:
        raise LogvarError(
            f"{name} has no column for pixels, for all are labels, identifiers or ignored: "
            "expected some others; drop fewer"
        )
    return Pixels(np.column_stack(pixels), labels)
