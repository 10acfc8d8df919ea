"""Numbers and dates come back to a text file as it wrote them."""

import csv

import numpy as np
import pyarrow as pa
import pytest

from logvar.data.table import delimited
from logvar.data.table.cells import cells_of, table_of
from logvar.data.table.kinds import found
from logvar.data.table.notation import number_of, written
from logvar.data.table.reading import read_table
from logvar.data.table.schema import Schema
from logvar.data.table.writing import write_table
from logvar.errors import LogvarError

COLUMNS = {
    "0.00": ["9.90", "12.00", "0.05", "-3.10"],
    "0.0": ["5.1", "5.0", "4.9", "-0.3"],
    "0,00": ["9,90", "12,00", "0,05", "-3,10"],
    "0,#": ["9,9", "12", "0,25", "-3,125"],
    "#,##0.00": ["1,234.50", "12.00", "1,000,000.05", "999.99"],
    "#.##0,00": ["1.234,50", "12,00", "1.000.000,05", "999,99"],
    "# ##0": ["1 234", "12", "1 000 000", "999"],
    "#,##0": ["1,234", "12", "1,000,000", "999"],
    "0%": ["10%", "25%", "3%", "99%"],
    "0.0%": ["10.0%", "25.5%", "3.1%", "99.0%"],
    "": ["1", "250", "30", "-7"],
    "DD.MM.YYYY": ["31.12.2019", "01.02.2020", "05.06.2021", "17.03.1999"],
    "D.M.YYYY": ["31.12.2019", "1.2.2020", "5.6.2021", "17.3.1999"],
    "M/D/YYYY": ["12/31/2019", "2/1/2020", "6/5/2021", "3/17/1999"],
    "MM/DD/YYYY": ["12/31/2019", "02/01/2020", "06/05/2021", "03/17/1999"],
    "YYYY/MM/DD": ["2019/12/31", "2020/02/01", "2021/06/05", "1999/03/17"],
    "DD.MM.YYYY hh:mm": ["31.12.2019 23:59", "01.02.2020 00:00", "05.06.2021 10:05", "17.03.1999 12:30"],
    "DD.MM.YYYY hh:mm:ss": ["31.12.2019 23:59:01", "01.02.2020 00:00:00", "05.06.2021 10:05:30", "17.03.1999 12:30:59"],
    "YYYY-MM-DDThh:mm:ssZ": ["2019-12-31T23:59:01Z", "2020-02-01T00:00:00Z", "2021-06-05T10:05:30Z", "1999-03-17T12:30:59Z"],
}  # fmt: skip


def to_file(path, columns, delimiter=";"):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([list(columns), *zip(*columns.values(), strict=True)])  # fmt: skip


def cells_in(path, delimiter):
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file, delimiter=delimiter)
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("notation", COLUMNS)
def test_a_column_is_written_as_its_file_writes_it(notation, tmp_path):
    for delimiter, ending in ((";", "csv"), ("\t", "tsv")):
        path, out = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
        columns = {f"c{notation}": COLUMNS[notation], "other": ["a", "b", "a", ""]}
        table = (
            {"n": ["1,5", "2,5", "3,5", "4,5"]}
            if "," in notation and "#,##" not in notation
            else {}
        )
        to_file(path, columns | table, delimiter)
        typed = read_table(path)
        assert typed.notations.get(f"c{notation}", "") == notation
        schema = found(typed, {f"c{notation}": "date" if "Y" in notation else "real"})
        assert Schema.from_toml(schema.as_toml()) == schema
        made = table_of(cells_of(typed, schema), schema, "arrow")
        write_table(made, out, schema)
        sep = (
            "\t" if ending == "tsv" else ";" if "," in notation and "#,##" not in notation else ","
        )
        assert cells_in(out, sep) == columns | table
        # What was written is read as it was.
        assert read_table(out).notations == typed.notations


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_points_between_thousands_are_read_back_without_a_decimal_comma(tmp_path, ending):
    to_file(tmp_path / "a.csv", {"n": ["1.000", "2.500", "999"], "s": ["a", "b", "a"]})
    table = read_table(tmp_path / "a.csv")
    schema = found(table)
    assert "with points between thousands" in schema["n"].reason
    cells = cells_of(table, schema)
    write_table(table_of(cells, schema, "arrow"), tmp_path / f"b.{ending}", schema)
    np.testing.assert_array_equal(cells_of(read_table(tmp_path / f"b.{ending}"), schema), cells)


def test_cells_beyond_the_notation_keep_their_digits():
    column = pa.chunked_array([[1.5, 2.125, None, -0.0, 1e-9, 1e22]])
    assert written(column, "0,0").to_pylist() == ["1,5", "2,125", None, "0,0", "0,000000001", "10000000000000000000000,0"]  # fmt: skip
    moments = pa.chunked_array([pa.array([0, 61_500_000], pa.timestamp("us"))])
    assert written(moments, "DD.MM.YYYY hh:mm").to_pylist() == ["01.01.1970 00:00:00.000", "01.01.1970 00:01:01.500"]  # fmt: skip
    with pytest.raises(LogvarError, match="no notation of numbers"):
        number_of("0;0")


def test_draws_have_the_decimals_and_minutes_of_the_data(tmp_path):
    columns = {name: COLUMNS[name] for name in ("0.00", "DD.MM.YYYY hh:mm")}
    columns["long"] = ["0.12345678", "0.50000000", "2.00000001", "1.25000000"]
    to_file(tmp_path / "a.csv", columns)
    table = read_table(tmp_path / "a.csv")
    schema = found(table, {"0.00": "real", "long": "real"})
    drawn = np.array([[1.23456, 1e9 + 7.3, 0.123456789123]])
    write_table(table_of(drawn, schema, "arrow"), tmp_path / "b.csv", schema)
    made = cells_in(tmp_path / "b.csv", ",")
    assert made == {"0.00": ["1.23"], "DD.MM.YYYY hh:mm": ["09.09.2001 01:47"], "long": ["0.12345679"]}  # fmt: skip


def test_days_and_months_of_a_few_rows_are_told_by_the_notation(tmp_path):
    to_file(tmp_path / "many.csv", {"day": COLUMNS["M/D/YYYY"], "x": ["1", "2", "3", "4"]}, ",")
    to_file(tmp_path / "few.csv", {"day": ["3/4/2020"], "x": ["1"]}, ",")
    schema = found(read_table(tmp_path / "many.csv"))
    cells = cells_of(read_table(tmp_path / "few.csv", "yes"), schema)
    assert cells[0, 0] == (np.datetime64("2020-03-04") - np.datetime64("1970-01-01")).astype(int)
    to_file(tmp_path / "many.csv", {"day": COLUMNS["DD.MM.YYYY"], "x": ["1", "2", "3", "4"]}, ",")
    to_file(tmp_path / "few.csv", {"day": ["03/04/2020"], "x": ["1"]}, ",")
    schema = found(read_table(tmp_path / "many.csv"))
    cells = cells_of(read_table(tmp_path / "few.csv", "yes"), schema)
    assert cells[0, 0] == (np.datetime64("2020-04-03") - np.datetime64("1970-01-01")).astype(int)


def test_a_large_files_numbers_have_their_decimals_too(tmp_path, monkeypatch):
    """Arrow reads them without keeping the texts; those of the first rows tell."""
    monkeypatch.setattr(delimited, "LARGE", 0)
    rows = {"a": ["1.50", "2.00", "3.25"], "b": ["1.5", "2.0", "3.5"]}
    to_file(tmp_path / "a.csv", rows, ",")
    assert read_table(tmp_path / "a.csv").notations == {"a": "0.00", "b": "0.0"}
    later = {"a": ["1.50"] * 300 + ["1.125"], "b": ["1.5"] * 301}
    to_file(tmp_path / "a.csv", later, ",")
    assert read_table(tmp_path / "a.csv").notations == {"b": "0.0"}
