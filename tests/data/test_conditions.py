"""Conditions in the forms that users have them, as the numbers that a model reads."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from logvar.data.conditions import Conditions, Told, names_of
from logvar.errors import LogvarError

N = 24
DAYS = pd.date_range("2024-01-01", periods=N)
CODED = ((np.arange(N) - (N - 1) / 2) / np.arange(N).std()).astype(np.float32)
"""Equally spaced numbers in units of their spread."""
LEVELS = {
    "texts": np.array(["a", "b"] * 12),
    "list": ["a", "b"] * 12,
    "objects": np.array(["a", "b"] * 12, object),
    "bytes": np.array([b"a", b"b"] * 12),
    "categories": pd.Series(["a", "b"] * 12, dtype="category"),
    "unused categories": pd.Categorical(["a", "b"] * 12, ["c", "b", "a"]),
    "strings of pandas": pd.Series(["a", "b"] * 12, dtype="string"),
    "polars": pl.Series(["a", "b"] * 12),
    "frame": pd.DataFrame({"batch": ["a", "b"] * 12}),
    "bools": np.arange(N) % 2 == 1,
    "integers": np.arange(N, dtype=np.uint8) % 2 + 3,
    "large integers": np.arange(N, dtype=np.uint64) % 2 + 2**63,
}
DATES = {
    "nanoseconds": np.array(DAYS, "M8[ns]"),
    "days": np.array(DAYS, "M8[D]"),
    "pandas": pd.Series(DAYS),
    "frame": pd.DataFrame({"when": DAYS}),
    "list": [day.date() for day in DAYS],
    "polars": pl.Series(list(DAYS)),
}
NUMBERS = {
    "float16": np.arange(N, dtype=np.float16),
    "integers": np.arange(N),
    "far from 0": 1e9 + np.arange(N) / 8,
    "squares above float64": 1e300 * np.arange(N),
    "squares below float64": 1e-300 * np.arange(N),
    "durations": np.arange(N).astype("m8[s]"),
}


@pytest.mark.parametrize("form", LEVELS)
def test_levels(form):
    found = Conditions.of(LEVELS[form])
    assert found.sizes == [2] and found.centre == [0] and found.spread == [1]
    np.testing.assert_array_equal(found.matrix(LEVELS[form]), np.tile(np.eye(2), (12, 1)))


@pytest.mark.parametrize("form", DATES)
def test_dates(form):
    found = Conditions.of(DATES[form])
    np.testing.assert_allclose(found.matrix(DATES[form])[:, 0], CODED, rtol=1e-6)
    name = found.names[0]
    for day in ("2024-01-03", datetime.date(2024, 1, 3), pd.Timestamp("2024-01-03")):
        np.testing.assert_allclose(found.matrix({name: day}, 2)[:, 0], CODED[2], rtol=1e-6)
    again = Conditions.from_toml(found.as_toml())
    told = again.read({str(name): "2024-01-03"})
    np.testing.assert_allclose(again.matrix(told, 1), [[CODED[2]]], rtol=1e-6)
    assert str(found) == f"{name} (date)"
    with pytest.raises(LogvarError, match="but holds 'soon' at row 0: expected a date"):
        again.matrix({name: "soon"})


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers(form):
    found = Conditions.of(NUMBERS[form])
    np.testing.assert_allclose(found.matrix(NUMBERS[form])[:, 0], CODED, rtol=1e-6)


def test_a_number_that_never_varies_has_no_spread():
    """The mean of seven times 0.1 is not 0.1, and the difference is no unit to measure in."""
    found = Conditions.of({"dose": [0.1] * 7})
    np.testing.assert_allclose(found.matrix({"dose": [0.1, 1.1]}), [[0], [1]], rtol=1e-6)


def test_masked_and_missing_cells_are_none():
    hidden = np.arange(N) == 3
    for given in (
        np.ma.masked_array(np.arange(float(N)), hidden),
        np.ma.masked_array(np.arange(float(N))[:, None], hidden[:, None]),
        pd.Series(np.where(hidden, None, 1), dtype="Int64"),
        pd.Series(np.where(hidden, None, "a"), dtype="category"),
    ):
        with pytest.raises(LogvarError, match="no value in row 3, column 0: each row needs one"):
            Conditions.of(given)
        with pytest.raises(LogvarError, match="no value in row 3, column 0: each row needs one"):
            Conditions.of(np.arange(N) * 1.5).matrix(np.ma.masked_array(np.ones(N), hidden))


def test_an_integer_beyond_64_bits_is_one_line():
    with pytest.raises(LogvarError, match="'dose' cannot be read .*too large.*expected numbers"):
        Conditions.of({"dose": [0.5, 1.5]}).matrix({"dose": 10**400}, 3)


def test_texts_of_the_command_line_find_columns_by_their_names():
    found = Conditions.of(np.column_stack([np.arange(N), 2 * np.arange(N)]))
    told = found.matrix(found.read({"0": "3", "1": "6"}), 2)
    np.testing.assert_allclose(told, CODED[[[3, 3], [3, 3]]], rtol=1e-6)
    blank = Conditions.of({" batch": ["a", "b"]})  # of a file that begins "x, batch"
    for name in ("batch", " batch"):
        assert blank.matrix(blank.read({name: "b"}), 1).tolist() == [[0, 1]]
    both = Conditions.of({"dose": [0.5, 1.5], "flag": [True, False]})
    assert both.read({"dose": "1e-1", "flag": "True"}) == {"dose": 0.1, "flag": True}
    for texts, message in (
        ({"dos": "1"}, "unknown column of the condition 'dos': did you mean 'dose'"),
        ({"dose": "much"}, "condition dose=much: expected a number, as in dose=1.5"),
    ):
        with pytest.raises(LogvarError, match=message):
            both.read(texts)


@pytest.mark.parametrize(
    ("new", "levels", "codes"),
    [
        ([1, 2], None, [0, 1]),
        (["2", "1"], None, [1, 0]),
        ([1.0, 2.0], None, [0, 1]),
        ([5, 2], (1, 2, 5), [2, 1]),
        (["1", "x", "2"], (1, 2, "x"), [0, 2, 1]),
        ([3.5, 1.0], (1, 2, 3.5), [2, 0]),
        (list(range(1, 31)), tuple(range(1, 31)), list(range(30))),
    ],
)
def test_levels_of_new_rows_are_the_old_ones_in_any_type_and_new_ones(new, levels, codes):
    old = Conditions.of({"n": [1, 2]})
    wider = old.with_levels_of({"n": new})
    assert (None if wider is None else wider.schema["n"].levels) == levels
    size = 2 if wider is None else len(levels)
    told = (wider or old).matrix({"n": new})
    np.testing.assert_array_equal(told, np.eye(size)[codes])
    if wider is not None:
        assert old.sources_in(wider) == [(0,), (1,), *[(0, 1)] * (size - 2)]
        np.testing.assert_array_equal(wider.usual, told)


def test_new_levels_stand_between_the_columns():
    old = Conditions.of({"n": [1, 2], "dose": [0.5, 1.5], "side": ["l", "r"]})
    wider = old.with_levels_of({"n": [3], "dose": [2.5], "side": ["m"]})
    assert wider.size == 7 and wider.sizes == [3, 1, 3]
    assert old.sources_in(wider) == [(0,), (1,), (0, 1), (2,), (3,), (4,), (3, 4)]
    np.testing.assert_allclose(wider.usual, [[0, 0, 1, 3, 0, 0, 1]])


def test_few_integers_are_levels_and_many_are_numbers():
    assert Conditions.of(np.arange(20)).size == 20
    assert Conditions.of(np.arange(21)).size == 1
    assert str(Conditions.of(np.arange(11))) == "0 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …)"


BOTH = Conditions.of({"batch": ["a", "b"], "dose": [0.5, 1.5]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": "a"}, "condition lacks 'dose': the model was told batch .a, b., dose"),
        ("a", "condition lacks 'batch', 'dose'"),
        (np.ones((2, 3)), "has 3 columns without names, and the model was told .*: expected 2"),
        ({}, "0 feature"),
        ({"batch": ["a", "b"], "dose": [0.0, 1.0]}, "condition has 2 rows: expected 3"),
        ({"batch": "a", "dose": 1e39}, "'dose' is 1e.39 at row 0, which float32 cannot hold"),
        ({"batch": "c", "dose": 1}, "'c' at row 0 .*never saw: .*; correct it, or train the new"),
        ({"batch": "a", "dose": np.inf}, "'dose' is inf at row 0"),
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\): expected \(rows,\) or \(rows, columns\)"),
    ],
)
def test_what_cannot_be_told_is_one_line(given, message):
    with pytest.raises(LogvarError, match=message) as error:
        BOTH.matrix(given, 3)
    assert "\n" not in str(error.value)


def test_further_columns_without_names_are_not_dropped():
    """Of an array that was fitted, columns are called 0, 1, …, as those of any other are."""
    one = Conditions.of(np.array(["a", "b"]))
    with pytest.raises(LogvarError, match="has 2 columns without names.*expected 1; give it alone"):
        one.matrix(np.array([["a", "b"], ["b", "a"]]))
    with pytest.raises(LogvarError, match="has 2 columns without names"):
        one.with_levels_of(np.array([["a", "b"], ["c", "a"]]))
    assert one.matrix({0: ["b"], "note": ["c"]}).tolist() == [[0, 1]]  # columns with names may


def test_one_row_stands_for_all_and_columns_are_found_by_name_or_place():
    told = [[1, 0, 1]] * 2
    for given in (
        {"batch": "a", "dose": 1.5},
        {"batch": np.array(["a"]), "dose": np.array([1.5])},
        {"dose": [1.5] * 2, "more": [0, 0], "batch": ["a"] * 2},
        pd.DataFrame({"dose": [1.5], "batch": ["a"]}, index=[7]),
        [["a", 1.5]],
    ):
        np.testing.assert_array_equal(BOTH.matrix(given, 2), told)


def test_what_is_stored_is_read_again():
    inside = Conditions.of({"batch": ["a", "b"] * 700, "dose": np.arange(1400.0)}, inside=True)
    again = Conditions.from_toml(inside.as_toml())
    assert again.as_toml() == inside.as_toml() and again.inside
    assert again.usual.shape == (700, 3)  # every second row, from the first to the last
    np.testing.assert_array_equal(again.usual, inside.usual)
    np.testing.assert_allclose(again.usual[[0, -1], 2], [-1.731, 1.7285], atol=1e-3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("centre = [", "middle = ["),
        ("centre = [", "centre = [1.0, "),
        ("spread = [", 'spread = ["much", '),
        ("usual = [", "usual = [1.0, "),
    ],
)
def test_a_changed_file_is_refused(old, new):
    text = BOTH.as_toml()
    assert old in text
    with pytest.raises(LogvarError, match="the condition is not what logvar wrote") as error:
        Conditions.from_toml(text.replace(old, new))
    assert "\n" not in str(error.value)


def test_rows_are_held_out_with_their_conditions():
    rows, others = np.arange(6.0, dtype=np.float32)[:, None], np.ones((2, 1), np.float32)
    told = Told(BOTH, rows).at(np.array([5, 0, 3]), np.array([4, 1]))
    assert told.rows.ravel().tolist() == [5, 0, 3] and told.held_out.ravel().tolist() == [4, 1]
    told = Told(BOTH, rows, others).at(np.array([5, 0]), np.array([], int))
    assert told.rows.ravel().tolist() == [5, 0] and told.held_out is others
    assert Told(BOTH, rows).at(np.arange(6), np.array([], int)).held_out is None


def test_texts_in_a_list_or_a_tuple_are_names():
    assert names_of("a") == ("a",) and names_of(["a", "b"]) == names_of(("a", "b")) == ("a", "b")
    for values in (None, [], ["a", 1], np.array(["a"]), {"a": [1]}):
        assert names_of(values) == ()


def test_numbers_in_place_of_levels_are_no_new_levels():
    form = Conditions.of({"batch": ["a", "b"]})
    with pytest.raises(LogvarError, match="column 'batch' has the number 0.5, .*expected levels"):
        form.with_levels_of({"batch": [0.5, 1.5, 2.0]})
    assert form.with_levels_of({"batch": [3, 4]}).size == 4
    assert form.with_levels_of({"batch": ["b", "0.5"]}).size == 3
