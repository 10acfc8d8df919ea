"""Files as people have them: headers, encodings, delimiters, numbers, dates, missing marks."""

import gzip

import numpy as np
import pandas as pd
import pytest

import logvar
from logvar.data.table import delimited
from logvar.data.table.cells import cells_of
from logvar.data.table.kinds import found
from logvar.data.table.reading import read_table
from logvar.data.table.writing import write_table

NORMAL = np.random.default_rng(0).normal(12, 1, (20, 4))


def rows(make, n=20):
    return "".join(f"{make(i)}\n" for i in range(n))


def decimals(columns):
    return rows(lambda i: ",".join(f"{cell:.2f}" for cell in NORMAL[i, :columns]))


def read(tmp_path, content, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


@pytest.mark.parametrize(
    ("first", "columns", "is_header"),
    [
        ("2019,2020", 2, True),
        ("400.0,402.5,405.0,407.5", 4, True),
        ("0,1,2,3", 4, True),
        ("age,12.1", 2, True),
        ("12.3,11.9", 2, False),
        ("2020,2019,2018", 3, True),
        ("2019,12.2", 2, False),
        ("12.0,12.1,13.7,15.0", 4, False),
    ],
)
def test_a_header_of_numbers_is_told_from_data(tmp_path, first, columns, is_header):
    table = read(tmp_path, f"{first}\n{decimals(columns)}")
    assert len(table) == 20 + (not is_header)
    names = tuple(first.split(",")) if is_header else tuple(f"x{i}" for i in range(columns))
    assert table.names == names
    assert ("--header" in " ".join(table.remarks)) == (first != "age,12.1")
    for header, n in (("yes", 20), ("no", 21)):
        assert len(read(tmp_path, f"{first}\n{decimals(columns)}", header=header)) == n


def test_integers_below_years_and_texts_without_a_header(tmp_path):
    sales = np.random.default_rng(1).integers(1500, 2500, (20, 4))
    body = rows(lambda i: ",".join(map(str, sales[i])))
    assert read(tmp_path, f"2019,2020,2021,2022\n{body}").names[0] == "2019"
    assert len(read(tmp_path, "1,2\n3,4\n")) == 2
    assert len(read(tmp_path, rows(lambda i: f"{i * i % 7}, {'ab'[i % 2]}"))) == 20
    assert len(read(tmp_path, rows(lambda i: f"{'uv'[i % 2]},{'ab'[i % 2]}"))) == 20
    assert len(read(tmp_path, np.array2string(np.arange(20).reshape(5, 4), separator=",").replace("[", "").replace("]", "").replace(",\n", "\n"))) == 5  # fmt: skip


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_costs_no_row(tmp_path, mark):
    assert len(read(tmp_path, mark + decimals(2).encode())) == 20
    assert read(tmp_path, mark + b"a,b\n" + decimals(2).encode()).names == ("a", "b")
    assert read(tmp_path, ("a,b\n" + decimals(2)).encode("utf-16")).names == ("a", "b")


def test_what_a_european_spreadsheet_writes(tmp_path):
    body = rows(lambda i: f"{170 + i / 2:.1f};{i + 1}.{100 + i};{'Köln' if i % 3 else 'Bonn'};{1 + i}.{1 + i % 12}.2020;{i} %".replace(".", ",", 1))  # fmt: skip
    table = read(tmp_path, f"Größe;Preis;Stadt;Tag;Anteil\n{body}".encode("latin-1"))
    schema = found(table)
    assert [column.kind for column in schema] == ["real", "count", "binary", "date", "count"]
    cells = cells_of(table, schema)
    assert cells[1].tolist()[:3] == [170.5, 2101, 1] and cells[1, 4] == 1
    assert schema["Größe"].step == 0.1 and "decimal commas" in schema["Größe"].reason
    assert "% signs" in schema["Anteil"].reason and "day, month, year" in schema["Tag"].reason
    assert any("1252" in remark for remark in table.remarks)
    assert any("semicolons" in remark for remark in table.remarks)


def test_numbers_in_other_styles(tmp_path):
    body = rows(lambda i: f'"{1 + i},{100 + i}.5"\t{i} 000\t0{1000 + i % 7}\t{i}e-3\t+{i}\t99999999999999999999{i}')  # fmt: skip
    table = read(tmp_path, f"a\tb\tzip\tc\td\tlong\n{body}", "a.tsv")
    cells = cells_of(table, schema := found(table))
    assert cells[2].tolist() == [3102.5, 2000, 2, 0.002, 2]
    assert [c.kind for c in schema][2] == "categorical" and schema["long"].kind == "identifier"


def test_digits_and_times_beyond_what_python_reads(tmp_path):
    table = read(tmp_path, "a,b,c\n" + rows(lambda i: f"{'1' * 5000},{i % 3},{i % 2}"))
    assert found(table)["a"].kind == "constant"
    said = "not all exist"
    table = read(tmp_path, "a,b\n" + rows(lambda i: f"000{1 + i % 2}-01-01T00:00:00+02:00,{i}"))
    with pytest.raises(logvar.LogvarError, match=said):
        found(table)


def test_marks_of_missing_cells(tmp_path):
    marks = ["NA", "?", " ", "null", "-", "nan"]
    body = rows(lambda i: ",".join([marks[i] if i < 6 else str(20 + i), "-" if i % 5 else "x", "?" if i % 7 == 0 else " y" if i % 2 else " z"]))  # fmt: skip
    table = read(tmp_path, f"age,dash,letter\n{body}")
    schema = found(table)
    cells = cells_of(table, schema)
    assert np.isnan(cells[:, 0]).sum() == 6 and np.isnan(cells[:, 2]).sum() == 3
    assert schema["dash"].levels == ("-", "x") and schema["letter"].levels == (" y", " z")
    assert "6 of 20 cells missing (empty, '?', 'NA', 'nan', 'null', '-')" in schema["age"].reason


def test_large_files_are_read_alike(tmp_path, monkeypatch):
    def cell(i):
        return f"{i * 7 % 11},{NORMAL[i, 0]},{'NA' if i == 3 else i},{'?' if i == 5 else i},{i if i < 199 else '1.5'},x{i % 3}"

    first = "n,real,na,mark,late,text\n"
    body, code = rows(lambda i: cell(i % 20)), rows(lambda i: f"{i},{i},{i},{i},{i},{i:03d}")
    late = rows(lambda i: f"{i % 7},{i / 3},{i},{i},{i if i < 250 else '1.5'},x{i % 3}", 260)
    for content in (first + body, first + code, first + late):
        monkeypatch.setattr(delimited, "LARGE", 1 << 24)
        small = read(tmp_path, content)
        monkeypatch.setattr(delimited, "LARGE", 0)
        large = read(tmp_path, content)
        assert all(a.equals(b) for a, b in zip(small.columns, large.columns, strict=True))


def test_labels_of_rows_are_no_feature(tmp_path):
    frame = pd.DataFrame({"a": NORMAL[:, 0], "b": NORMAL[:, 1]})
    frame.to_csv(tmp_path / "a.csv")
    frame.set_index(pd.Index([f"r{i}" for i in range(20)], name="key")).to_parquet(
        tmp_path / "a.parquet"
    )
    r = '"a","b"\n' + rows(lambda i: f'"{i + 1}",{NORMAL[i, 0]},{NORMAL[i, 1]}')
    (tmp_path / "r.csv").write_text(r)
    for name, label in (("a.csv", ""), ("a.parquet", "key"), ("r.csv", "")):
        table = read_table(tmp_path / name)
        schema = found(table)
        assert [column.name for column in schema.modelled] == ["a", "b"]
        assert table.row_labels == (label,)
        np.testing.assert_array_equal(cells_of(table, schema), NORMAL[:, :2])
    write_table(table, tmp_path / "b.csv")
    assert read_table(tmp_path / "b.csv").names == ("", "a", "b")
    for header in ("a,b,", "a,b"):  # with a delimiter at the end of lines, of all or of the others
        trailing = read(tmp_path, header + "\n" + rows(lambda i: f"{i},{i % 3},"))
        assert trailing.names == ("a", "b")
        assert trailing["b"].to_pylist()[:4] == [0, 1, 2, 0]
    twice = read(tmp_path, "Unnamed: 0.1,Unnamed: 0,a\n" + rows(lambda i: f"{i},{i},{i % 7}"))
    assert twice.row_labels == ("Unnamed: 0.1", "Unnamed: 0")
    assert [column.name for column in found(twice).modelled] == ["a"]


def test_dates_come_in_one_format(tmp_path):
    body = rows(lambda i: f"{1 + i % 12}/{1 + i}/2020,2020-01-{1 + i:02d}T10:00:00Z,{1 + i % 12}/{1 + i % 12}/2020,1.2.{i}")  # fmt: skip
    table = read(tmp_path, f"us,moment,unclear,version\n{body}")
    schema = found(table)
    assert [c.kind for c in schema] == ["date", "date", "categorical", "identifier"]
    assert schema["us"].unit == "days" and schema["moment"].unit == "seconds"
    assert cells_of(table, schema)[0, :2].tolist() == [18262, 1577872800]
    assert "cannot be told apart" in schema["unclear"].reason
    mixed = read(
        tmp_path, "day\n" + rows(lambda i: f"2020-01-{1 + i:02d}" if i != 7 else "31.01.2020")
    )
    with pytest.raises(
        logvar.LogvarError,
        match="'day' holds dates in mixed formats, such as '2020-01-01' and '31.01.2020'",
    ):
        found(mixed)
    impossible = read(tmp_path, "day\n" + rows(lambda i: f"2020-02-{11 + i:02d}"))
    with pytest.raises(logvar.LogvarError, match="'day' holds dates, but not all exist"):
        found(impossible)


def test_all_columns_that_are_wrong_are_told_at_once(tmp_path):
    body = rows(lambda i: f"{'abc' if i == 5 else 20 + i},{'inf' if i == 3 else i / 3},,{i}")
    table = read(tmp_path, f"age,ratio,empty,good\n{body}")
    with pytest.raises(logvar.LogvarError) as caught:
        found(table)
    said = str(caught.value)
    assert "column 'age' holds numbers, but 1 of 20 cells are not numbers: 'abc' (row 5)" in said
    assert "column 'ratio' has 1 infinite cells, the first at row 3" in said
    assert "column 'empty' has only missing cells" in said and "--drop empty" in said
    assert "good" not in said and "\n" not in said
    schema = found(table, {"age": "categorical", "ratio": "ignored", "empty": "ignored"})
    assert len(schema["age"].levels) == 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n1,2,3\n3,4\n", "1 of 3 rows do not have 2 cells like the others \\(line 3 has 3\\)"),
        ("My report\n\na,b,c\n1,2,3\n4,5,6\n", "1 cell\\(s\\) in its first line \\(My report\\) and 3"),
        ("a,b,a\n1,2,3\n", "columns of the same name: 'a' \\(2 times\\)"),
        ("a,b\n", "a header and no rows"),
        ("\n \n", "is empty"),
        (b"PK\x03\x04\0\0\0", "is not text"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "close the quotation mark"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "cannot be read"),
    ],
)  # fmt: skip
def test_broken_files_are_told_in_one_line(tmp_path, content, said):
    name = "a.csv.gz" if isinstance(content, bytes) and content[:2] == b"\x1f\x8b" else "a.csv"
    with pytest.raises(logvar.LogvarError, match=said) as caught:
        read(tmp_path, content, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "a.txt", "a.csv"])
def test_a_file_that_is_not_what_its_ending_says(tmp_path, name):
    with pytest.raises(logvar.LogvarError, match="ends in|cannot be read|is not text"):
        read(tmp_path, b"FEA1\0nothing of the kind", name)
    with pytest.raises(logvar.LogvarError, match="no file|ends in"):
        read_table(tmp_path / f"not-there-{name}")


def test_texts_with_delimiters_and_line_breaks_come_back(tmp_path):
    body = rows(lambda i: f'"x, \n ""{i % 2}""",{i}')
    table = read(tmp_path, f"a,b\n{body}")
    assert table["a"][1].as_py() == 'x, \n "1"'
    write_table(table, tmp_path / "b.tsv")
    assert read_table(tmp_path / "b.tsv")["a"].equals(table["a"])
    with pytest.raises(logvar.LogvarError, match="ends in '.txt'"):
        write_table(table, tmp_path / "b.txt")
