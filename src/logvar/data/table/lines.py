"""Blocks of a table → the lines of a .csv or .tsv file."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logvar.data.table.arrow import PER_DAY, family, unit_of
from logvar.data.table.notation import number_of, written
from logvar.data.table.schema import NUMBERS, Column, Name

_ROWS_AT_ONCE = 1 << 16
"""So that the texts of a column stay far below the 2 GiB that one array of Arrow holds."""


class Lines:
    """Writes numbers and dates as the columns' own file does, and texts in quotation marks.

    Args:
        tabs: whether cells are separated by tabs.
        columns: what is known of the columns, by their names: notations and units.

    Example:
        >>> price = Column("price", "real", notation="0,00")
        >>> rows = pa.table({"price": [9.9, None], "plan": ["basic", None]})
        >>> print(b"".join(Lines(columns=[price]).of(rows)).decode())
        "price";"plan"
        9,90;"basic"
        ;
        <BLANKLINE>
    """

    def __init__(self, tabs: bool = False, columns: Iterable[Column] = ()):
        self._notations: dict[Name, str] = {
            # Tabs do not tell that the point of 1.234 is one between thousands.
            c.name: c.notation
            for c in columns
            if c.notation and not (tabs and _has_points_alone(c))
        }
        self._units = {str(column.name): column.unit for column in columns if column.unit}
        # Semicolons, as in such files, for a decimal comma would need quotation marks.
        commas = any(_has_decimal_comma(column) for column in columns)
        self._delimiter = "\t" if tabs else ";" if commas else ","
        self._has_begun = False

    def of(self, block: pa.Table) -> Iterable[bytes]:
        """Return the lines of the next rows; before the first of them, the header."""
        if not self._has_begun:
            self._has_begun = True
            header = self._delimiter.join(f'"{_doubled(name)}"' for name in block.column_names)
            yield f"{header}\n".encode()
            for name, column in zip(block.column_names, block.columns, strict=True):
                if family(column.type) == "date":
                    found = unit_of(column)
                    given = self._units.get(name, found)
                    self._units[name] = max(found, given, key=list(PER_DAY).index)
        for start in range(0, block.num_rows, _ROWS_AT_ONCE):
            yield self._lines(block.slice(start, _ROWS_AT_ONCE))

    def _lines(self, block: pa.Table) -> bytes:
        texts = [
            self._cells(name, column)
            for name, column in zip(block.column_names, block.columns, strict=True)
        ]
        lines = pc.binary_join_element_wise(*texts, self._delimiter) if texts[1:] else texts[0]
        whole = pc.binary_join_element_wise(lines, "", "\n")
        offsets = np.frombuffer(whole.buffers()[1], np.int32)
        return memoryview(whole.buffers()[2])[: int(offsets[len(whole)])].tobytes()

    def _cells(self, name: str, column: pa.ChunkedArray) -> pa.Array:
        notation, unit = self._notations.get(name, ""), self._units.get(name, "")
        found = written(column, notation, unit).combine_chunks()
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(found, '"', '""'), '"', "")
        if family(column.type) not in ("text", "category"):
            # Numbers and dates need them only for a delimiter within.
            quoted = pc.if_else(pc.match_substring(found, self._delimiter), quoted, found)
        return pc.fill_null(quoted, "")


def _has_decimal_comma(column: Column) -> bool:
    """Return whether a comma is the decimal mark, or would be: 1.234 is above 1,000 only there."""
    if not column.notation or column.kind not in NUMBERS or column.unit:
        return False
    return number_of(column.notation).mark == "," or _has_points_alone(column)


def _has_points_alone(column: Column) -> bool:
    """Return whether points are between thousands, and no decimal mark tells that they are."""
    if column.kind not in NUMBERS or column.unit:
        return False
    number = number_of(column.notation)
    return number.between == "." and number.mark != ","


def _doubled(name: str) -> str:
    return name.replace('"', '""')
