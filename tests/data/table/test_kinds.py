"""Kinds as they are found, with reasons, and as the user says; the schema as text."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import logvar
from logvar.data.table.cells import cells_of
from logvar.data.table.form import TableForm
from logvar.data.table.frame import as_table
from logvar.data.table.kinds import found
from logvar.data.table.schema import Column, Schema, schema_given

N = 400
rng = np.random.default_rng(0)
TABLE = as_table(
    {
        "age": rng.integers(17, 90, N),
        "gain": np.where(rng.random(N) < 0.9, 0, rng.integers(1, 9999, N)),
        "change": rng.integers(-5, 6, N),
        "whole float": rng.integers(0, 50, N).astype(float),
        "income": np.exp(rng.normal(size=N)),
        "price": np.round(rng.uniform(0, 9, N), 2),
        "acidity": np.round(rng.normal(3.2, 0.1, N), 2),
        "height": rng.normal(170, 10, N),
        "flag": rng.integers(0, 2, N),
        "city": rng.choice(["Bonn", "Köln", "Ulm"], N),
        "town": rng.choice([f"t{i}" for i in range(60)], N),
        "note": [f"n{i}" for i in range(N)],
        "words": rng.choice([f"w{i}" for i in range(300)], N),
        "CustomerId": rng.permutation(N) + 1000,
        "paid": rng.permutation(N),
        "pi": np.full(N, 3.14),
        "when": [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(N)],
        "day": np.arange(N),
    }
)
SCHEMA = found(TABLE)
EXPECTED = {
    "age": ("count", "integers from 17 to 89"),
    "gain": ("count", "% of them 0"),
    "change": ("real", "integers from -5 to 5"),
    "whole float": ("count", "integers from 0 to 49"),
    "income": ("positive", "all above 0"),
    "price": ("real", "in steps of 0.01, none below 0"),
    "acidity": ("real", "in steps of 0.01"),
    "height": ("real", "numbers from "),
    "flag": ("binary", "0 and 1"),
    "city": ("categorical", "3 levels, such as Bonn, Köln, Ulm"),
    "town": ("categorical", "60 levels, such as t0, t1, t10"),
    "note": ("identifier", "400 distinct texts in 400 rows, so not modelled"),
    "words": ("identifier", " distinct texts in 400 rows"),
    "CustomerId": ("identifier", "400 distinct integers in 400 rows, named like one"),
    "paid": ("count", "integers from 0 to 399"),
    "pi": ("constant", "always 3.14"),
    "when": ("date", "days from 2020-01-01 to 2021-02-03"),
    "day": ("count", "each one more than the last: leave out with schema={'day': 'identifier'} (--id day)"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_kinds_are_found_with_a_reason(name):
    kind, reason = EXPECTED[name]
    assert SCHEMA[name].kind == kind and reason in SCHEMA[name].reason, SCHEMA[name]


def test_steps_and_ends():
    steps = {"age": 1, "change": 1, "price": 0.01, "acidity": 0.01, "income": 0, "height": 0}
    assert {name: SCHEMA[name].step for name in steps} == steps
    lows = {"age": 0, "income": 0, "price": 0, "change": None, "acidity": None, "height": None}
    assert {name: SCHEMA[name].low for name in lows} == lows


def test_the_schema_is_read_back_and_given_again(tmp_path):
    assert Schema.from_toml(SCHEMA.as_toml()) == SCHEMA
    form = TableForm(SCHEMA, "polars")
    assert TableForm.from_toml(form.as_toml()) == form
    (tmp_path / "schema.toml").write_text(form.as_toml())
    for given in (None, SCHEMA, tmp_path / "schema.toml", str(tmp_path / "schema.toml")):
        assert schema_given(given, TABLE) == SCHEMA
    # A user's own short file, and a change in a long one.
    (tmp_path / "short.toml").write_text('[[column]]\nname = "age"\nkind = "real"\n')
    assert schema_given(tmp_path / "short.toml", TABLE)["age"].kind == "real"
    long = form.as_toml().replace('kind = "binary"', 'kind = "count"').replace("step = 0.01\n", "")
    (tmp_path / "long.toml").write_text(long)
    given = schema_given(tmp_path / "long.toml", TABLE)
    assert given["flag"].kind == "count" and given["price"].step == 0


def test_kinds_as_the_user_says():
    sizes = {
        "size": ["M", "S", "L", "M"],
        "code": ["1", "2", "2", "1"],
        "n": [10, 2, 3, 3],
        "s": [" a", "b", "b", "b"],
    }
    given = {
        "size": {"kind": "ordinal", "levels": ["S", "M", "L"]},
        "code": "real",
        "n": "categorical",
        "s": Column("s", "categorical", levels=("b", "a")),
    }
    table = as_table(sizes)
    schema = found(table, given)
    assert schema["size"].levels == ("S", "M", "L") and schema["n"].levels == (2, 3, 10)
    assert schema["s"].levels == ("b", " a"), "as the table writes it"
    assert schema["code"].reason == "as given; integers from 1 to 2, none below 0"
    assert cells_of(table, schema)[:2].tolist() == [[1, 1, 2, 1], [0, 2, 0, 0]]
    for kind in ("identifier", "label", "condition", "ignored"):
        assert found(table, {"n": kind})["n"].kind == kind
        assert len(found(table, {"n": kind}).modelled) == 3


def test_categories_of_frames_have_their_own_order():
    ordered = pd.Categorical(["lo", "hi", "lo"] * 9, ["lo", "mid", "hi"], ordered=True)
    plain = pd.Categorical(["b", "a", "c"] * 9, ["c", "b", "a", "unused"])
    schema = found(as_table(pd.DataFrame({"o": ordered, "p": plain})))
    assert (schema["o"].kind, schema["o"].levels) == ("ordinal", ("lo", "mid", "hi"))
    assert (schema["p"].kind, schema["p"].levels) == ("categorical", ("a", "b", "c"))
    assert schema["o"].reason == "lo < mid < hi"


def test_ten_thousand_distinct_texts_are_an_identifier():
    schema = found(
        as_table({"text": [f"word {i}" for i in range(10_000)], "x": np.arange(10_000) % 7})
    )
    assert schema["text"].reason == "10,000 distinct texts in 10,000 rows, so not modelled"


def test_a_table_of_many_columns_is_told_in_few_lines():
    wide = {f"p{i}": rng.integers(0, 9, 30) for i in range(298)} | {
        "id": np.arange(30),
        "y": ["a", "b"] * 15,
    }
    told = str(found(as_table(wide))).splitlines()
    assert told[0] == "300 columns, 299 of them modelled" and len(told) == 4
    assert told[1].startswith("count       298  p0, p1, p2, … p297: integers from 0 to 8")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"aeg": "real"}, "not in the table: unknown column 'aeg': did you mean 'age'"),
        ({"age": "reel"}, "column 'age': unknown kind of column 'reel': did you mean 'real'"),
        ({"age": {"kind": "real", "stpe": 1}}, "unknown field 'stpe': did you mean 'step'"),
        ({"age": {"levels": "abc"}}, "levels is 'abc': expected a list"),
        ({"age": 3}, "given as 3: expected a kind"),
        ({"change": "count"}, "column 'change' is -.* at row .* such cells\\): expected a whole number of at least 0.*--kind change=real"),
        ({"gain": "positive"}, "column 'gain' is 0 at row .*expected a number above 0"),
        ({"height": "count"}, "expected a whole number"),
        ({"city": "real"}, "column 'city' has kind real, but holds '.*' at row 0 .400 such cells.: expected a number"),
        ({"city": "binary", "age": "constant"}, "'age' has kind constant, but .*'city' has kind binary, but 3 distinct values"),
        ({"age": "date"}, "'age' has kind date, but holds '.*': expected dates"),
        ({"when": "real"}, "'when' has kind real, but its type is date32"),
        (dict.fromkeys(TABLE.names, "ignored"), "none of the 18 columns is to be modelled"),
        ({"age": {"step": -1}}, "column 'age' has step -1: expected a finite number of at least 0"),
        ({"height": {"step": float("nan")}}, "has step nan"),
        ({"age": {"step": 0.5}}, "has step 0.5 and kind count: expected a whole number"),
        ({"price": {"step": 0.5}}, "'price' has .* cells between multiples of its step 0.5, the first .* at row 0: correct step in the schema"),
        ({"age": {"step": 9}}, "between multiples of its step 9"),
        ({"age": {"low": 30}}, "'age' has .* cells below its low end 30, the first .* correct low in the schema"),
        ({"height": {"kind": "real", "high": 170}}, "above its high end 170"),
        ({"age": {"low": 5, "high": 1}}, "has low 5 above high 1"),
        ({"age": {"low": float("nan")}}, "has low nan: expected a number"),
        ({"when": {"unit": "weeks"}}, "has the unknown unit 'weeks'.*days, seconds"),
        ({"city": {"unknown": "maybe"}}, "has the unknown value of unknown 'maybe'"),
        ({"city": {"levels": ["Bonn", None]}}, "has None as a level or value"),
        ({"city": {"levels": [["Bonn"]]}}, "has \\['Bonn'\\] as a level or value"),
        ({"city": {"levels": ["Ulm", "Bonn", "Köln", "Ulm "]}}, "has the level 'Ulm' twice in the schema"),
        ({"age": {"levels": [1, 2]}}, "'age' has levels in the schema, and its kind is count"),
        ({"flag": {"kind": "binary", "levels": [0, 1, 2]}}, "kind binary, and 3 levels in the schema"),
        ({"pi": {"value": 3}}, "'pi' is always 3.14, and its value in the schema is 3"),
        ({"age": {"value": 3}}, "'age' has a value in the schema, which is for constants"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_told(overrides, said):
    with pytest.raises(logvar.LogvarError, match=said) as caught:
        found(TABLE, overrides)
    assert "\n" not in str(caught.value)


def test_given_fields_are_taken_and_said():
    given = {
        "city": {"levels": ["Ulm", "Bonn", "Köln", "Jena"]},
        "flag": {"levels": [1, 0, 2]},
        "when": {"unit": "seconds"},
        "pi": {"value": "3.14"},
        "price": {"step": 0.01, "low": 0, "high": 9},
    }
    schema = found(TABLE, given)
    assert schema["city"].levels == ("Ulm", "Bonn", "Köln", "Jena")
    assert schema["city"].reason == "as given; 4 levels, such as Ulm, Bonn, Köln"
    assert (schema["flag"].kind, schema["flag"].levels) == ("categorical", (1, 0, 2))
    seconds = cells_of(TABLE, schema)[0, [c.name for c in schema.modelled].index("when")]
    assert seconds == 18262 * 86400


def test_a_changed_kind_leaves_nothing_of_the_one_before(tmp_path):
    """The kind alone is changed in a file, and the table is another."""
    (tmp_path / "a.toml").write_text(
        SCHEMA.as_toml().replace('kind = "categorical"', 'kind = "identifier"').replace('kind = "count"', 'kind = "categorical"')
    )  # fmt: skip
    other = schema_given(tmp_path / "a.toml", TABLE)
    assert other["city"] == Column("city", "identifier", SCHEMA["city"].reason, dtype="string")
    assert (other["age"].step, other["age"].low) == (0, None) and len(other["age"].levels) > 60
    few = as_table({"age": [1, 2, 40], "city": ["Bonn", None, "Ulm"]})
    again = schema_given(Schema((SCHEMA["age"], SCHEMA["city"])), few)
    assert again["age"].reason == "as given; integers from 1 to 40", "of these cells"
    assert again["city"].reason.endswith("; 1 of 3 cells missing")


def test_zero_has_no_sign():
    schema = found(as_table({"a": [0.0, -0.0], "b": [-0.0, 1.5], "c": [-0.0, -0.0]}))
    assert [column.kind for column in schema] == ["constant", "real", "constant"]
    assert [str(column.value) for column in schema] == ["0.0", "None", "0.0"]
    assert schema["b"].reason.startswith("numbers from 0 to 1.5")
    # Integers that float64 cannot tell apart are no constant.
    with pytest.raises(logvar.LogvarError, match="integers up to 1e\\+18"):
        found(as_table({"a": [10**18, 10**18 + 1, 10**18]}))


def test_a_day_is_the_same_level_in_every_file():
    moments = as_table({"a": [datetime.datetime(2020, 1, 1)] * 2, "b": [1, 2]})
    schema = found(moments)
    for cells in ([datetime.date(2020, 1, 1)] * 2, ["2020-01-01"] * 2, ["2020-01-01 00:00:00"] * 2):
        other = as_table({"a": cells, "b": [1, 2]})
        assert cells_of(other, schema)[:, 0].tolist() == [0, 0]


def test_dates_beyond_the_calendar_are_told():
    for unit, ticks in (("s", 2**62), ("ms", -(2**60)), ("us", 2**62)):
        frame = as_table(pa.table({"a": pa.array([0, ticks], pa.timestamp(unit)), "b": [1, 2]}))
        with pytest.raises(
            logvar.LogvarError, match="'a' has 1 dates or .*9999, the first at row 1"
        ):
            found(frame)


def test_remedies_work_as_printed():
    with pytest.raises(logvar.LogvarError, match="--drop 'the text'"):
        found(as_table({"the text": [None, None], "b": [1, 2]}))
    told = str(found(as_table({"a\nb": ["x\ny", "z"], "c" * 99: [1, 2]}))).splitlines()
    assert told[1] == f"{'a b':<40}  binary  x y and z"
    assert told[2].startswith("c" * 39 + "…  count")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["$1,200", "$90", "$7.50"], "if '$1,200' and the like are numbers"),
        (["5 €", "7,5 €", "8 €"], "are numbers, write them without signs and units"),
        (["(3.5)", "4", "(5)"], "if '(3.5)' and the like are numbers"),
        (["1 Jan 2020", "12 March 2021", "3 feb 2020"], "if '1 Jan 2020' and the like are dates"),
        (["13/01/20", "14/02/20", "15/01/20"], "are dates, write them as 2020-01-31"),
        (["a1", "b2", "c3"], ""),
        (["007", "008", "009"], ""),
        (["10-20", "20-30", "30-40"], ""),
    ],
)
def test_numbers_and_dates_that_stay_texts_are_told(cells, said):
    reason = found(as_table({"a": cells * 5, "b": range(15)}))["a"].reason
    assert said in reason and bool(said) == ("and the like" in reason)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[column]\n", "not valid TOML"),
        ("a = 1\n", "has no columns"),
        ("[[column]]\nkind = 'real'\n", "column entry 1 has no name"),
        ("[[column]]\nname = 'a'\nkind = 'reel'\n", "did you mean 'real'"),
        ("[[column]]\nname = 'b'\nkind = 'real'\n[[column]]\nname = 'b'\n", "the column 'b' twice"),
        ("[[column]]\nname = 'b'\nkind = 'real'\n", "names a column that is not in the table"),
        (
            "[[column]]\nname = 'a'\nkind = 'count'\nstep = -1\n",
            "schema.toml, column 'a' has step -1",
        ),
        (
            "[[column]]\nname = 'a'\nkind = 'binary'\nlevels = [[1], 2]\n",
            "column 'a' has \\[1\\] as a level",
        ),
    ],
)
def test_a_schema_file_that_does_not_fit(tmp_path, text, said):
    (tmp_path / "schema.toml").write_text(text)
    with pytest.raises(logvar.LogvarError, match=said):
        schema_given(tmp_path / "schema.toml", as_table({"a": [1, 2]}))
    with pytest.raises(logvar.LogvarError, match="cannot be read"):
        schema_given(tmp_path / "none.toml", as_table({"a": [1, 2]}))
    with pytest.raises(logvar.LogvarError, match="schema is 3"):
        schema_given(3, as_table({"a": [1, 2]}))
    with pytest.raises(logvar.LogvarError, match="has no kind"):
        Schema.from_toml("[[column]]\nname = 'a'\n")


def test_cells_that_nothing_can_model_are_told_at_once():
    frame = pd.DataFrame(
        {"list": [[1], [2, 3]], "record": [{"a": 1}, {"a": 2}], "no": [None, None], "ok": [1, 2]}
    )
    with pytest.raises(
        logvar.LogvarError, match="'list' holds list.*'record' holds struct.*'no' has only missing"
    ):
        found(as_table(frame))
    schema = found(as_table(frame), {"list": "ignored", "record": "label", "no": "identifier"})
    assert [column.name for column in schema.modelled] == ["ok"]
    with pytest.raises(logvar.LogvarError, match="integers up to 1.15292e\\+18.*float64 is exact"):
        found(as_table({"big": [2**60, 2**60, 2]}))
    assert found(as_table({"big": [2**60, 5, 2], "x": [1, 2, 3]}))["big"].kind == "identifier"
