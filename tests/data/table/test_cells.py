"""Cells by the name of their column; errors that name them; nothing outside of a column's kind."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import logvar
from logvar.data.table.cells import cells_of, table_of
from logvar.data.table.form import TableForm
from logvar.data.table.frame import as_table, back
from logvar.data.table.kinds import found
from logvar.data.table.schema import Schema

COLUMNS = {
    "id": ["u", "v", "w", "x"],
    "age": [39, 50, 28, 41],
    "city": ["Bonn", "Ulm", "Köln", "Ulm"],
    "price": [1.25, -2.5, 0.75, 9.99],
    "pi": [3.14] * 4,
    "day": [datetime.date(2024, 1, i) for i in (1, 5, 9, 30)],
    "y": ["no", "yes", "no", "no"],
}
TABLE = as_table(dict(COLUMNS))
SCHEMA = found(TABLE, {"id": "identifier", "y": "label"})
CELLS = cells_of(TABLE, SCHEMA)


def changed(**columns):
    return as_table({name: columns.get(name, cells) for name, cells in COLUMNS.items()})


def test_columns_are_matched_by_name():
    for names in (list(COLUMNS)[::-1], ["age", "day", "city", "pi", "price"]):
        some = as_table({name: COLUMNS[name] for name in names})
        np.testing.assert_array_equal(cells_of(some, SCHEMA), CELLS)
    integers = found(as_table(pd.DataFrame({0: [1, 2, 9], 10: [2.5, 3.5, 1]})))
    assert cells_of(as_table({"10": [7.5], " 0": [3]}), integers).tolist() == [[3, 7.5]]
    extra = as_table(
        {**{n: c for n, c in COLUMNS.items() if n not in ("age", "pi")}, "aeg": [1] * 4}
    )
    said = "new lacks 2 columns \\('age', 'pi'\\) and has the column 'aeg', which the model does not know"
    with pytest.raises(logvar.LogvarError, match=said):
        cells_of(extra, SCHEMA, "new")


def test_a_constant_that_deviates_is_marked():
    cells = cells_of(changed(pi=[3.14, 2.0, None, 3.14]), SCHEMA)
    np.testing.assert_array_equal(cells[:, 3], [0, 1, np.nan, 0])


def test_the_same_level_in_other_types():
    schema = found(
        as_table({"n": [1, 2, 5, 2], "b": [True, False, True, True], "f": [0.0, 1.0, 1.0, 0]}),
        {"n": "categorical"},
    )
    expected = [[0, 1, 0], [2, 0, 1]]
    for X in (
        {"n": [1, 5], "b": [True, False], "f": [0.0, 1.0]},
        {"n": ["1", " 5"], "b": ["True", "false"], "f": [0, 1]},
        {"n": [1.0, 5.0], "b": np.array([True, False]), "f": ["0", "1"]},
    ):
        assert cells_of(as_table(X), schema).tolist() == expected


def test_a_level_never_seen_is_named_or_missing():
    table = changed(city=["Bonn", "Mars", "Venus", "Mars"])
    said = "X: column 'city' has the level 'Mars' at row 1 \\(3 such cells, 2 such levels\\).*one of 3 \\(Bonn, Köln, Ulm\\).*unknown = 'level'"
    with pytest.raises(logvar.LogvarError, match=said):
        cells_of(table, SCHEMA)
    cells = cells_of(table, SCHEMA, unknown="level")
    np.testing.assert_array_equal(cells[:, 1], [0, np.nan, np.nan, np.nan])
    lenient = Schema.from_toml(
        SCHEMA.as_toml().replace('name = "city"', 'name = "city"\nunknown = "level"')
    )
    np.testing.assert_array_equal(cells_of(table, lenient), cells)
    with pytest.raises(logvar.LogvarError, match="unknown is 'missing'"):
        cells_of(table, SCHEMA, unknown="missing")


def test_cells_that_are_not_what_they_should_be_are_told_at_once():
    bad = changed(
        age=[-1, 50, -3, 2], price=["1", "x", "y", "2"], day=["2024-01-01", "soon", None, None]
    )
    with pytest.raises(logvar.LogvarError) as caught:
        cells_of(bad, SCHEMA, "new.csv")
    said = str(caught.value)
    assert said.startswith(
        "new.csv: column 'age' is -1 at row 0 (2 such cells): expected a whole number"
    )
    assert "column 'price' has kind real, but holds 'x' at row 1 (2 such cells)" in said
    assert "column 'day' has kind date, but holds" in said and "\n" not in said
    for age, told in (([1.5, 2, 3, 4], "is 1.5 at row 0"), ([np.inf, 2, 3, 4], "is inf at row 0: expected a finite"), ([[1], [2], [3], [4]], "its type is list")):  # fmt: skip
        with pytest.raises(logvar.LogvarError, match=told):
            cells_of(changed(age=age), SCHEMA)
    texts = changed(
        age=["39", "50", "28", "-"], day=["2024-01-01", "2024-01-05", "2024-01-09", "2024-01-30"]
    )
    np.testing.assert_array_equal(cells_of(texts, SCHEMA)[:3], CELLS[:3])


def test_nothing_leaves_the_kind_of_its_column():
    """Whatever the model gives, its table is one that the schema accepts, to the same cells."""
    frame = pd.DataFrame(
        {
            **{name: cells for name, cells in COLUMNS.items() if name not in ("id", "y")},
            "narrow": np.array([0.1, 0.2, 5], np.float32)[[0, 1, 2, 1]],
            "pixel": np.array([0, 3, 255, 9], np.uint8),
            "income": [0.5, 1.5, 80.2, 3.1],
            "moment": pd.to_datetime(["2020-01-01 10:00", "2020-01-02", "2021-05-05", None], format="mixed"),
            "size": pd.Categorical(["S", "L", "S", "L"], ["S", "M", "L"], ordered=True),
            "exact": [decimal.Decimal("1.25"), decimal.Decimal("2.75"), None, decimal.Decimal("9.99")],
        }
    )  # fmt: skip
    table = as_table(frame)
    schema = found(table)
    draws = np.random.default_rng(0)
    wild = draws.normal(size=(200, len(schema.modelled))) * 10.0 ** draws.integers(-3, 60, (200, 1))
    wild[draws.random(wild.shape) < 0.1] = np.nan
    for container in ("arrow", "pandas", "lists"):
        form = TableForm(schema, container)
        made = form.native(wild)
        again = form.cells(made)
        assert (np.isnan(again) == np.isnan(wild)).all()
        np.testing.assert_array_equal(form.cells(form.native(again)), again)
        assert (np.nan_to_num(again[:, 0]) >= 0).all() and np.isfinite(
            again[~np.isnan(again)]
        ).all()
        assert np.nanmax(again[:, -1]) > 1e9, "Arrow infers decimals that end at 9.99"
        assert set(as_table(made)["size"].to_pylist()) == {"S", "M", "L", None}
    assert back(
        table_of(np.zeros((2, len(schema.modelled))), schema, "pandas"), "pandas"
    ).dtypes.equals(frame.dtypes)


def test_what_is_not_modelled_is_carried_or_empty():
    made = back(table_of(CELLS, SCHEMA, "lists", TABLE), "lists")
    assert made == COLUMNS
    alone = back(table_of(CELLS[:2], SCHEMA, "lists"), "lists")
    assert list(alone) == list(COLUMNS) and alone["id"] == [None, None] == alone["y"]
    counted = found(as_table({"id": [7, 8, 9], "x": [1, 2, 2], "z": [1, 2, 2]}), {"z": "ignored"})
    assert back(table_of(np.ones((2, 1)), counted, "lists"), "lists") == {"id": [1, 2], "x": [1, 1]}


def test_kept_cells_are_carried_as_they_are():
    ticks = pa.array([1, 2_000_000_500, 3_000_000_000, None], pa.timestamp("ns"))
    table = as_table(
        pa.table(
            {"pi": [3.14] * 4, "t": ticks, "c": pa.array(["a", None, "b", "a"]).dictionary_encode()}
        )
    )
    schema = found(table)
    deviating = as_table(pa.table({"pi": [3.14, 2.0, None, 3.14], "t": ticks, "c": table["c"]}))
    cells = cells_of(deviating, schema)
    made = table_of(np.zeros_like(cells), schema, "arrow", deviating, ~np.isnan(cells))
    assert made["pi"].to_pylist() == [3.14, 2.0, 3.14, 3.14]
    assert made["t"].cast(pa.int64()).to_pylist() == [1, 2_000_000_500, 3_000_000_000, 0]
    assert made["c"].to_pylist() == ["a", "a", "b", "a"] and made["c"].type == table["c"].type


def test_numbers_come_back_as_decimals_are_read_whatever_their_step():
    """3 · 0.2 is 0.6000000000000001 in float64, and that is no multiple of 0.2 as people write it."""
    table = as_table({"x": [0.2, 0.6, 1.4]})
    schema = found(table, {"x": {"kind": "real", "step": 0.2}})
    made = table_of(cells_of(table, schema), schema, "lists")
    assert back(made, "lists") == {"x": [0.2, 0.6, 1.4]}


def test_a_schema_says_whether_it_has_a_column():
    assert "age" in SCHEMA and "wage" not in SCHEMA and SCHEMA["age"] in SCHEMA
