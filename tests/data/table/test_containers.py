"""One schema, one table: the same cells from every container, and each container given back."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from logvar.data.table.cells import cells_of, table_of
from logvar.data.table.frame import as_table, back, is_table
from logvar.data.table.kinds import found

DAYS = [datetime.date(2024, 1, 31), None, datetime.date(2024, 3, 1), datetime.date(2023, 12, 24)]
COLUMNS = {
    "age": [39, 50, None, 28],
    "sex": ["F", None, "M", "F"],
    "price": [1.25, 2.5, None, 9.99],
    "when": DAYS,
    "member": [True, False, None, True],
}


def records():
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


def structured():
    rows = np.empty(
        4, [("age", "f8"), ("sex", object), ("price", "f8"), ("when", "M8[D]"), ("member", object)]
    )
    for name, cells in COLUMNS.items():
        rows[name] = [
            np.nan if cell is None and rows.dtype[name].kind == "f" else cell for cell in cells
        ]
    return rows


CONTAINERS = {
    "pandas": lambda: pd.DataFrame(COLUMNS).astype({"age": "Int64", "member": "boolean", "when": "datetime64[s]"}),
    "pandas, plain": lambda: pd.DataFrame(COLUMNS),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "arrow": lambda: pa.table(COLUMNS),
    "lists": lambda: dict(COLUMNS),
    "records": records,
    "structured": structured,
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_cells_and_comes_back(container):
    schema = found(as_table(dict(COLUMNS)))
    X = CONTAINERS[container]()
    assert is_table(X)
    table = as_table(X)
    cells = cells_of(table, schema)
    expected = cells_of(as_table(dict(COLUMNS)), schema)
    np.testing.assert_array_equal(cells, expected)
    assert [column.kind for column in found(table)] == [column.kind for column in schema]
    own = found(table)
    again = back(table_of(cells, own, table.container), table.container)
    assert type(again) is type(X)
    np.testing.assert_array_equal(cells_of(as_table(again), schema), expected)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_frame_equal(again, X)
