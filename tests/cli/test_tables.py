"""Tables on the command line: one small run, and what every command makes of it."""

import csv
import dataclasses
import json
import shlex
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from logvar.cli import fitting, judging, missing
from logvar.cli.fitting import overrides_of
from logvar.data.images.reading import ImageReading
from logvar.data.sources import Dataset
from logvar.data.table.choices import Choices
from logvar.data.table.frame import as_table
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.explaining import OddCell
from logvar.recipe import Recipe
from tests.cli.in_process import run

NAMES = ["key", "age", "sex", "joined", "income", "plan", "planned", "group"]
QUICK = "--epochs 2 --latent-dim 2 --network 'mlp(hidden=[8])' --importance-samples 3 --out run"


def rows_of_people():
    rng = np.random.default_rng(0)
    rows = [
        [
            f"p{i}", int(rng.integers(18, 80)), rng.choice(["F", "M"]),
            f"{rng.integers(2010, 2021)}-0{rng.integers(1, 10)}-1{rng.integers(10)}",
            f"{rng.lognormal(3, 1):.2f}", "basic", int(rng.integers(3)), rng.choice(["x", "y", "z"]),
        ]
        for i in range(60)
    ]  # fmt: skip
    rows[4][1] = rows[4][2] = rows[9][4] = ""
    return rows


def write(path, rows, names=NAMES):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def read(path):
    with open(path, newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


def changed(path, row, column, value):
    rows = rows_of_people()
    rows[row][NAMES.index(column)] = value
    write(path, rows)


def logvar(line):
    """Exit code, output and errors of a command, in this process."""
    return run(shlex.split(line))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table and a run that was fitted on it."""
    folder = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "write_report", lambda *arguments: None)  # has tests of its own
        write(folder / "people.csv", rows_of_people())
        fitted = logvar(
            f"fit people.csv {QUICK} --label group --drop planned --kind age=count "
            "--objective 'elbo(warmup=40)'"
        )
        assert fitted.code == 0, fitted.errors
        yield SimpleNamespace(folder=folder, fitted=fitted)


def test_fit_says_what_each_column_is_and_keeps_the_choices(place):
    said = {line.split()[0]: line.split()[1] for line in place.fitted.out.splitlines()[2:10]}
    assert said == {
        "key": "identifier", "age": "count", "sex": "binary", "joined": "date",
        "income": "positive", "plan": "constant", "planned": "ignored", "group": "label",
    }  # fmt: skip
    assert "the warm-up of β takes 40 epochs and training ends after 2: β reaches 0.05" in (
        place.fitted.out
    )
    recipe = Recipe.from_toml((place.folder / "run" / "recipe.toml").read_text())
    assert recipe.data.data == str(place.folder / "people.csv")
    assert json.loads(recipe.data.kinds) == {
        "group": "label", "planned": "ignored", "age": "count",
    }  # fmt: skip
    assert (place.folder / "run" / "schema.toml").is_file()


def test_a_finished_run_is_known_by_its_choices_too(place):
    flags = "--resume --label group --kind age=count --objective 'elbo(warmup=40)'"
    done = logvar(f"fit people.csv {QUICK} {flags} --drop planned")
    assert done.code == 0 and "already finished" in done.out
    other = logvar(f"fit people.csv {QUICK} {flags} --drop planned plan")
    assert other.code == 2 and "a checkpoint of another run" in other.errors
    assert len(other.errors.splitlines()) == 1
    assert "already finished" not in other.out


def test_evaluate_and_doctor_find_the_table_from_anywhere(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = logvar(f"evaluate {place.folder / 'run'} --importance-samples 3")
    assert done.code == 0 and "on 6 rows (held out" in done.out, done.errors
    checked = logvar(f"doctor {place.folder / 'run'}")
    assert checked.out.startswith("fine  ending: finished after 2 epochs"), checked.errors


def test_columns_are_matched_by_name_in_any_order_and_in_one_row(place):
    rows = rows_of_people()
    write("reversed.csv", [row[::-1] for row in rows], NAMES[::-1])
    write("one.csv", rows[:1])
    scores = {}
    for name in ("people", "reversed", "one"):
        done = logvar(f"score run {name}.csv --out scores.csv --importance-samples 3")
        assert done.code == 0, done.errors
        names, found = read("scores.csv")
        assert names == ["key", "log_likelihood"]
        scores[name] = found
    assert scores["people"] == scores["reversed"]
    assert scores["one"] == scores["people"][:1]
    alone = logvar("evaluate run one.csv --importance-samples 3")
    assert "on 1 row (all rows of one)" in alone.out and "one row has no spread" in alone.out


def test_score_explains_the_cells_that_are_odd(place, monkeypatch):
    def explained(vae, X, top, n_samples):
        odd = [OddCell("plan", "gold", -4.1, 4.0), OddCell("income", 12.345678, -6.0, 0.5)]
        return [odd[: i % 3] for i in range(60)]

    monkeypatch.setattr(VAE, "explain", explained)  # compiles for seconds, and has its own tests
    done = logvar("score run people.csv --out odd.csv --explain --importance-samples 3")
    assert done.code == 0, done.errors
    names, rows = read("odd.csv")
    cells = [f"odd{i}{part}" for i in (1, 2, 3) for part in ("", "_value", "_nats")]
    assert names == ["key", "log_likelihood", *cells]
    assert rows[5][2:] == ["plan", "gold", "4", "income", "12.3457", "0.5", "", "", ""]
    assert rows[0][2:] == [""] * 9
    lowest = min(range(60), key=lambda i: float(rows[i][1]))
    assert f"lowest: row {lowest} with" in done.out


def test_impute_fills_the_holes_and_nothing_else(place):
    changed("holes.csv", 2, "plan", "gold")
    done = logvar("impute run holes.csv --out whole.tsv.gz --samples 8 --draws 2")
    assert done.code == 0, done.errors
    assert "3 cells in 2 of 60 rows filled; effective samples of 8: median" in done.out
    wholes = sorted(path.name for path in place.folder.glob("whole*"))
    assert wholes == ["whole-1.tsv.gz", "whole-2.tsv.gz"]
    before = as_table("holes.csv")
    for name in wholes:
        after = as_table(name)
        assert after.names == before.names
        for old, new in zip(before.columns, after.columns, strict=True):
            assert new.null_count == 0
            pairs = zip(old.to_pylist(), new.to_pylist(), strict=True)
            assert all(b == a for b, a in pairs if b is not None)
        assert after["plan"][2].as_py() == "gold"  # odd, and observed
        assert after["sex"][4].as_py() in ("F", "M")


def test_holes_without_a_finite_number_of_samples_are_counted():
    holes = missing._Holes()
    holes.look_at(np.array([[np.nan, np.nan], [1.0, 2.0]]), np.array([np.nan, np.nan]))
    said = "2 cells in 1 of 2 rows filled; effective samples of 10: no row has a finite number"
    assert holes.said(10) == said


def test_a_report_has_the_clocks_and_the_samples_of_its_run(place, monkeypatch):
    written = []
    monkeypatch.setattr(judging, "write_report", lambda *what: written.append(what) or what[0])
    for line in ("report run", "report run --importance-samples 2"):
        done = logvar(line)
        assert done.code == 0, done.errors
    lines = (place.folder / "run/timing.jsonl").read_text().splitlines()
    clocks = [json.loads(line) for line in lines]
    for (_, _, evaluation, _, _, seconds), samples in zip(written, (3, 2), strict=True):
        assert seconds == [clock["seconds"] for clock in clocks] and len(seconds) == 2
        assert f", {samples} samples per row" in evaluation["log_likelihood"].how
    refused = logvar("report run --importance-samples 0")
    assert refused.code == 2 and "--importance-samples is 0" in refused.errors


def test_samples_have_the_tables_columns_types_and_order(place):
    done = logvar("sample run --n 200 --out new.parquet --missing --seed 1")
    assert done.code == 0, done.errors
    new = pq.read_table("new.parquet")
    assert new.column_names == [name for name in NAMES if name != "planned"]
    assert [str(kind) for kind in new.schema.types] == [
        "string", "int64", "string", "date32[day]", "double", "string", "string",
    ]  # fmt: skip
    assert set(new["sex"].to_pylist()) <= {"F", "M", None}
    assert new["plan"].unique().to_pylist() == ["basic"]
    assert 0 < new["age"].null_count < 40
    incomes = [cell for cell in new["income"].to_pylist() if cell is not None]
    assert min(incomes) > 0 and all(round(cell, 2) == cell for cell in incomes)


def test_codes_carry_names_and_decode_to_the_table(place):
    commands = (
        "encode run people.csv --out codes.csv",
        "decode run codes.csv --out decoded.csv",
        "reconstruct run people.csv --out reconstructed.csv",
        "encode run people.csv --out codes.npy",
    )
    for line in commands:
        done = logvar(line)
        assert done.code == 0, done.errors
    assert read("codes.csv")[0] == ["key", "group", "z0", "z1"]
    assert np.load("codes.npy").shape == (60, 2)
    decoded, reconstructed = read("decoded.csv"), read("reconstructed.csv")
    assert reconstructed[0] == NAMES
    kept = [NAMES.index(name) for name in decoded[0]]
    assert decoded[1] == [[row[i] for i in kept] for row in reconstructed[1]]
    assert [row[0] for row in decoded[1]] == [f"p{i}" for i in range(60)]


BAD = {
    "score run level.csv --out bad.csv": "level.csv: column 'sex' has the level 'X' at row 3",
    "score run negative.csv --out bad.csv": "negative.csv: column 'age' is -3 at row 3",
    "score run infinite.csv --out bad.csv": "infinite.csv: column 'income' is inf at row 3",
    "score run mixed.csv --out bad.csv": "mixed.csv: column 'joined' has kind date, but holds dates in mixed formats",
    "score run text.csv --out bad.csv": "text.csv: column 'age' has kind count, but holds",
    "score run other.csv --out bad.csv": "other.csv lacks the column 'age' and has the column 'years'",
    "score run people.csv --out bad.npy --explain": "--explain writes names and values",
    "score run people.csv --out people.csv": "is the data itself",
    "sample run --n 2 --out bad.npy": "holds numbers alone, and 5 columns are none",
    "sample run --n 2 --out bad": "is for PNG files",
    "impute run people.csv --out bad.csv --draws -1": "--draws is -1",
    "impute run people.csv --out bad.xls": "ends in '.xls'",
    "fit empty.csv --out bad": "column 'age' has only missing cells",
    "fit negative.csv --out bad --kind age=count": "column 'age' is -3 at row 3",
    "fit infinite.csv --out bad": "column 'income' has 1 infinite cell",
    "fit mixed.csv --out bad": "column 'joined' holds dates in mixed formats",
    "fit people.csv --out bad --schema nosuch.toml": "nosuch.toml cannot be read",
    "fit people.csv --out bad --schema other.toml": "names a column that is not in the table: unknown column 'years'",
    "fit people.csv --out bad --drop agee": "did you mean 'age'",
    "fit people.csv --out bad --kind age=reel": "unknown kind 'reel': did you mean 'real'",
    "fit people.csv --out bad --kind age": "expected NAME=KIND",
    "fit people.csv --out bad --drop age --id age": "was given two kinds, ignored and identifier",
    "fit digits --out bad --drop age": "are for the columns of a table",
    "fit one_row.csv --out bad": "expected at least 2 rows",
}  # fmt: skip


def test_columns_are_chosen_of_tables_alone():
    kinds, images = Choices(kinds={"age": "ignored"}), np.zeros((3, 4, 4, 1), np.uint8)
    photos = Dataset("photos", images, reading=ImageReading((4, 4, 1)))
    with pytest.raises(LogvarError, match="photos has examples of shape .* are for the columns"):
        overrides_of(kinds, photos)
    assert overrides_of(kinds, dataclasses.replace(photos, of_columns=True)) is None
    assert overrides_of(Choices(), photos) is None


def test_a_new_file_without_a_header_is_told_by_its_columns(place):
    """Its first row as names would have the same name twice."""
    twice = [["p", 1, "F", "2020-01-11", 1, "basic", 1, "x"]] * 3
    write("bare.csv", twice[1:], twice[0])
    done = logvar("score run bare.csv --out o.csv")
    assert done.code == 2 and "bare.csv lacks 5 columns" in done.errors, done.errors


def test_bad_tables_are_one_line_and_leave_nothing(place):
    changed("level.csv", 3, "sex", "X")
    changed("negative.csv", 3, "age", -3)
    changed("infinite.csv", 3, "income", "inf")
    changed("mixed.csv", 3, "joined", "31/12/2020")
    changed("text.csv", 3, "age", "old")
    rows = rows_of_people()
    write("other.csv", rows, ["years" if name == "age" else name for name in NAMES])
    write("one_row.csv", rows[:1])
    write("empty.csv", [[row[0], "", *row[2:]] for row in rows])
    (place.folder / "other.toml").write_text('[[column]]\nname = "years"\nkind = "real"\n')
    before = sorted(path.name for path in place.folder.iterdir())
    for line, message in BAD.items():
        done = logvar(line)
        assert done.code == 2, line
        assert message in done.errors, (line, done.errors)
        assert len(done.errors.splitlines()) == 1, line
    assert sorted(path.name for path in place.folder.iterdir()) == before


def test_samples_have_the_given_cells(place):
    found = logvar('sample run --where "sex=F, age=40" --n 7 --out given.csv')
    assert found.code == 0, found.errors
    assert "7 rows of 7 columns, draws of x given sex=F, age=40" in found.out
    assert "effective samples of 4,096 draws of z: " in found.out and "log p(sex=F" in found.out
    names, rows = read(place.folder / "given.csv")
    assert {(row[names.index("sex")], row[names.index("age")]) for row in rows} == {("F", "40")}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sexx=F", "unknown column 'sexx': did you mean 'sex'"),
        ("sex=G", "column 'sex' has no level 'G'"),
        ("plan=pro", "column 'plan' has no level 'pro': Known: basic"),
        ("group=x", "column 'group' is not modelled (label)"),
        ("sex", "--where 'sex' cannot be read at 'sex': expected NAME=VALUE"),
    ],
)
def test_cells_that_no_row_can_have_are_one_line_and_nothing_is_written(place, where, message):
    found = logvar(f"sample run --where {shlex.quote(where)} --out none.csv")
    assert found.code == 2 and message in found.errors and found.errors.count("\n") == 1
    assert not (place.folder / "none.csv").exists()
