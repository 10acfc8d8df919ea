"""One schema, one table: the same cells from every container, and each container given back."""

import datetime
import decimal

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import logvar
from logvar.data.table.cells import cells_of, table_of
from logvar.data.table.frame import as_table, back, is_table
from logvar.data.table.kinds import found
from logvar.data.table.reading import read_table
from logvar.data.table.writing import write_table

DAY = datetime.date
COLUMNS = {
    "age": [39, 50, None, 28],
    "sex": ["F", None, "M", "F"],
    "price": [1.25, 2.5, None, 9.99],
    "when": [DAY(2024, 1, 31), None, DAY(2024, 3, 1), DAY(2023, 12, 24)],
    "member": [True, False, None, True],
}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


def structured():
    kinds = [("age", "f8"), ("sex", object), ("price", "f8"), ("when", "M8[D]"), ("member", object)]
    rows = np.empty(4, kinds)
    for name, cells in COLUMNS.items():
        empty = np.nan if rows.dtype[name].kind == "f" else None
        rows[name] = [empty if cell is None else cell for cell in cells]
    return rows


CONTAINERS = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas, nullable": lambda: pd.DataFrame(COLUMNS, index=list("wxyz")).astype(
        {"age": "Int16", "member": "boolean", "when": "datetime64[s]", "sex": "category"}
    ),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "polars, enum": lambda: pl.DataFrame(COLUMNS).cast({"sex": pl.Enum(["M", "F", "X"])}),
    "arrow": lambda: pa.table(COLUMNS),
    "arrow, other types": lambda: pa.table(COLUMNS).cast(
        pa.schema({"age": pa.int8(), "sex": pa.large_string(), "price": pa.decimal128(9, 2), "when": pa.timestamp("ns"), "member": pa.bool_()})
    ),
    "lists": lambda: dict(COLUMNS),
    "arrays": lambda: {name: np.array(cells, object) for name, cells in COLUMNS.items()},
    "records": lambda: ROWS,
    "structured": structured,
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_cells_and_comes_back(container):
    schema, X = found(as_table(dict(COLUMNS))), CONTAINERS[container]()
    expected = cells_of(as_table(dict(COLUMNS)), schema)
    assert expected[0].tolist() == [39, 0, 1.25, 19753, 1]
    assert is_table(X)
    table = as_table(X)
    np.testing.assert_array_equal(cells_of(table, schema), expected)
    own = found(table)
    assert [column.kind for column in own] == ["count", "binary", "positive", "date", "binary"]
    assert own["sex"].levels == (("M", "F") if container == "polars, enum" else ("F", "M"))
    again = back(table_of(cells_of(table, own), own, table.container, table), table.container)
    assert type(again) is type(X)
    np.testing.assert_array_equal(cells_of(as_table(again), schema), expected)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_frame_equal(again, X)
    elif isinstance(X, pl.DataFrame):
        assert again.equals(X) and again.schema == X.schema
    elif isinstance(X, pa.Table):
        assert again.equals(X)


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".parquet", ".arrow", ".feather"])
def test_every_file_gives_the_same_cells(tmp_path, ending):
    frame = pd.DataFrame(COLUMNS).astype({"sex": "category", "when": "datetime64[ns]"})
    table = as_table(
        frame.assign(
            price=frame["price"].astype(str).map(decimal.Decimal).where(frame["price"].notna())
        )
    )
    schema, path = found(table), tmp_path / f"table{ending}"
    write_table(table, path)
    again = read_table(path)
    np.testing.assert_array_equal(cells_of(again, schema), cells_of(table, schema))
    assert again.names == table.names
    assert [column.kind for column in found(again)] == [column.kind for column in schema]


def test_arrays_with_masks_texts_and_dates():
    masked = np.ma.MaskedArray([[1, 2], [3, 4], [5, 9]], [[0, 1], [0, 0], [1, 0]])
    several = {
        "masked": masked,
        "masked records": np.ma.array([(1, "a"), (2, "b")], dtype=[("n", int), ("s", "U1")], mask=[(0, 1), (1, 0)]),
        "object": np.array([[1, "a", None], [2.5, None, DAY(2020, 1, 1)], [None, "b", DAY(2021, 1, 1)]], object),
        "dates": np.array([["2020-01-01", "2020-01-05"], ["2021-01-01", "NaT"]], "M8[D]"),
        "big-endian": np.array([(1, "a"), (2, "b")], dtype=[("n", ">i4"), ("s", "U1")]),
        "recarray": np.rec.array([(1, "a"), (2, "b")], dtype=[("n", int), ("s", "U1")]),
        "rows": [[1, "a"], [2, "b"], [3, None]],
    }  # fmt: skip
    for name, X in several.items():
        assert is_table(X), name
        table = as_table(X)
        schema = found(table)
        cells = cells_of(table, schema)
        again = back(table_of(cells, schema, table.container), table.container)
        assert type(again) is type(X), name
        np.testing.assert_array_equal(cells_of(as_table(again), schema), cells, err_msg=name)
        assert getattr(again, "dtype", None) == getattr(X, "dtype", None), name
    assert np.isnan(cells_of(as_table(masked), found(as_table(masked)))).sum() == 2


def test_numbers_alone_are_no_table():
    for X in (
        np.zeros((3, 2)),
        [[1, 2]],
        np.zeros((2, 4, 4, 1), np.uint8),
        pd.Series([1]),
        None,
        "digits",
    ):
        assert not is_table(X)
    assert not is_table(np.ones((2, 2), object))
    assert is_table("a/table.CSV.gz")


def test_pandas_types_and_index_come_back():
    frame = pd.DataFrame(
        {
            3: pd.Categorical(["lo", "hi", None] * 4, ["lo", "mid", "hi"], ordered=True),
            5: pd.to_datetime(
                ["2020-01-01 00:30", "2020-03-01", None] * 4, format="mixed"
            ).tz_localize("Europe/Berlin"),
            "time": [datetime.time(1, 2), None, datetime.time(3, 4)] * 4,
            "span": pd.to_timedelta([1, 2, None] * 4, unit="h"),
            "price": [decimal.Decimal("1.25"), decimal.Decimal("9.99"), None] * 4,
            "pixel": np.array([0, 7, 255] * 4, np.uint8),
            "narrow": np.array([0.1, 0.27, 3] * 4, np.float32),
            "arrow": pd.array([1, None, 3] * 4, dtype="int64[pyarrow]"),
            "country": pd.Categorical([" US", "DE", "?"] * 4, [" US", "DE", "?", "FR"]),
            "text date": ["2020-01-01", None, "2021-05-01"] * 4,
            "name": [f"n{i}" for i in range(12)],
        },
        index=pd.Index(range(5, 17), name="key"),
    )
    table = as_table(frame)
    schema = found(table)
    kinds = [
        "ordinal",
        "date",
        "real",
        "real",
        "real",
        "count",
        "positive",
        "count",
        "binary",
        "date",
        "identifier",
    ]
    assert [column.kind for column in schema] == kinds
    cells = cells_of(table, schema)
    assert cells[1, 6] == 0.27  # and not float32's neighbour of it
    again = back(table_of(cells, schema, "pandas", table), "pandas")
    expected = frame.assign(country=frame["country"].cat.remove_categories("?"))
    expected["country"] = expected["country"].astype(again["country"].dtype)
    pd.testing.assert_frame_equal(again, expected)
    # Half of a column observed and kept, in its own type; the rest from the cells.
    kept = np.zeros(cells.shape, bool)
    kept[::2] = ~np.isnan(cells[::2])
    mixed = back(table_of(np.zeros_like(cells), schema, "pandas", table, kept), "pandas")
    assert (
        mixed[3].tolist()[:4] == ["lo", "lo", "lo", "lo"]
        and mixed["price"].iloc[4] == frame["price"].iloc[4]
    )
    assert (mixed.dtypes == again.dtypes).all()


def test_days_among_moments_are_midnight():
    days, moments = [DAY(2020, 1, 1)], [datetime.datetime(2020, 1, 2, 5), None]
    for cells in (days + moments, moments + days, pd.Series(days + moments, dtype=object)):
        table = as_table({"when": cells, "n": [1, 2, 3]})
        cells = np.sort(cells_of(table, found(table))[:, 0])
        np.testing.assert_array_equal(cells, [1577836800, 1577836800 + 29 * 3600, np.nan])


def test_intervals_and_periods_are_levels():
    lengths = [0.5, 1.5, 2.5, np.nan] * 3
    frame = pd.DataFrame(
        {
            "length": pd.cut(lengths, [0, 1, 2, 3]),
            "month": pd.Categorical(pd.PeriodIndex(["2020-01", "2020-03", "2020-02", "NaT"] * 3, freq="M")),
        }
    )  # fmt: skip
    table = as_table(frame)
    schema = found(table)
    assert schema["length"].reason.startswith("(0, 1] < (1, 2] < (2, 3]")
    assert schema["month"].levels == ("2020-01", "2020-02", "2020-03")
    again = back(table_of(cells_of(table, schema), schema, "pandas"), "pandas")
    assert again["length"].tolist()[:3] == ["(0, 1]", "(1, 2]", "(2, 3]"]
    assert again["length"].cat.ordered and again["length"].isna().sum() == 3


def test_types_that_few_functions_know():
    table = as_table(pa.table({"a": pa.array(["x", "y", None], pa.string_view()), "b": [1, 2, 3]}))
    schema = found(table)
    cells = cells_of(table, schema)
    again = back(table_of(cells, schema, "arrow"), "arrow")
    assert again["a"].to_pylist() == ["x", "y", None]
    wide = as_table({"a": np.array([1, 2.5], np.longdouble)})
    assert cells_of(wide, found(wide)).tolist() == [[1], [2.5]]


def test_polars_and_others_keep_their_types():
    frame = pl.DataFrame(
        {
            "category": pl.Series(["x", "y", None] * 4, dtype=pl.Categorical),
            "small": pl.Series([1, None, 3] * 4, dtype=pl.UInt16),
            "price": pl.Series(
                [decimal.Decimal("1.25"), None, decimal.Decimal("2.5")] * 4, dtype=pl.Decimal(38, 2)
            ),
            "moment": [datetime.datetime(2020, 1, 1, 1), None, datetime.datetime(2021, 1, 1)] * 4,
        }
    )
    for X in (frame, frame.lazy()):
        table = as_table(X)
        schema = found(table)
        again = back(table_of(cells_of(table, schema), schema, "polars"), "polars")
        assert again.equals(frame) and again.schema == frame.schema
    halves = as_table(
        {"x": np.array([1, 2.5], ml_dtypes.bfloat16), "y": np.array([1, np.nan], np.float16)}
    )
    assert cells_of(halves, found(halves)).tolist()[0] == [1, 0]


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]), "columns of the same name: 'a' \\(2 times\\)"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), "'a' \\(2 times\\)"),
        (pd.DataFrame({"ok": [1, 2], "mix": [1, "a"], "z": [1j, 2]}), "'mix' mixes int \\(row 0: 1\\) and str \\(row 1: 'a'\\).*'z'"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "2 levels of names"),
        (pd.DataFrame({pd.Timestamp(0): [1]}), "a column named Timestamp"),
        ({"a": [1, 2], "b": [1]}, "different lengths \\('a' 2, 'b' 1\\)"),
        ({"a": 1}, "column 'a' is 1: expected a list or array"),
        ({"a": np.zeros((2, 2))}, "has shape \\(2, 2\\)"),
        ({}, "0 feature\\(s\\)"),
        (pd.DataFrame({"a": []}), "0 sample\\(s\\)"),
        ([{"a": 1}, 3], "row 1 is a int"),
        ([[1, "a"], [2]], "1 cells in row 1: expected 2"),
        (pd.Series([1]), "X is a Series: expected a table"),
        (np.zeros(3, [("a", int)]).reshape(1, 3), "structured array of shape \\(1, 3\\)"),
        (pd.DataFrame({1: [1], "1": [2]}), "columns of the same name: '1' \\(2 times\\)"),
        (pd.DataFrame({"a": [1], " a": [2]}), "columns of the same name: 'a' \\(2 times\\)"),
        (pd.DataFrame([[1]], columns=[np.nan]), "a column named nan"),
        ({"\ud800": [1]}, "named '.*', which is no valid text"),
        ({"a": ["\ud800", "b"]}, "column 'a' cannot be read .*surrogates"),
        ({"a": [2**64, 1]}, "column 'a' cannot be read .*too large"),
        ({"a": {0: 1.5, 1: 2.5}}, "column 'a' is a dict: .*to_dict\\('list'\\)"),
        ({"a": {2, 1}}, "column 'a' is {1, 2}: expected a list or array"),
        ({"a": [np.zeros(2), "b"]}, "mixes ndarray .* and str"),
        ({"a": [1, pd.NA, "b"]}, "mixes int .* and str"),
        (np.zeros(2, [("a", [("x", int), ("y", int)])]), "column 'a' cannot be read"),
        (np.zeros(2, [("a", "V4"), ("b", int)]), "column 'a' cannot be read"),
        (np.array([[b"\xe9", b"a"]]), "column 0 cannot be read .*decode"),
        (pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "column 'a' is Int128, which Arrow cannot hold: cast it"),
        ({"a": [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)]}, "moments with and without a time zone"),
    ],
    ids=range(29),
)  # fmt: skip
def test_what_is_no_table_is_told_in_one_line(X, said):
    with pytest.raises(logvar.LogvarError, match=said) as caught:
        as_table(X)
    assert "\n" not in str(caught.value)
