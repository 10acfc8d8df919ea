"""Labels in the forms that users have them."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from logvar.data.labels import Labels
from logvar.errors import LogvarError

EXPECTED = [1, -1, 0, 1]
NUMBERS = {
    "list": [7, None, 3, 7],
    "list with NaN": [7, np.nan, 3, 7],
    "minus one": np.array([7, -1, 3, 7]),
    "float": np.array([7.0, np.nan, 3.0, 7.0]),
    "float minus one": np.array([7.0, -1.0, 3.0, 7.0], np.float32),
    "object": np.array([7, None, 3, 7], object),
    "masked": np.ma.masked_array([7, 5, 3, 7], [False, True, False, False]),
    "nullable": pd.Series([7, pd.NA, 3, 7], dtype="Int64"),
    "pandas": pd.Series([7, np.nan, 3, 7]),
    "polars": pl.Series([7, None, 3, 7]),
    "Arrow": pa.chunked_array([[7, None], [3, 7]]),
    "one array of Arrow": pa.array([7, None, 3, 7]),
}
TEXTS = {
    "list": ["b", None, "a", "b"],
    "list with NaN": ["b", np.nan, "a", "b"],
    "NumPy's own": [np.str_("b"), None, np.str_("a"), np.str_("b")],
    "object": np.array(["b", None, "a", "b"], object),
    "categorical": pd.Series(["b", None, "a", "b"], dtype="category"),
    "string": pd.Series(["b", None, "a", "b"], dtype="string"),
    "polars": pl.Series(["b", None, "a", "b"]),
    "Arrow": pa.chunked_array([["b", None], ["a", "b"]]),
    "one array of Arrow": pa.array(["b", None, "a", "b"]),
    "dictionary of Arrow": pa.array(["b", None, "a", "b"]).dictionary_encode(),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers(form):
    labels, codes = Labels.found(NUMBERS[form])
    assert labels.classes == (3, 7) and codes.tolist() == EXPECTED
    assert labels.codes_of([3.0, np.int8(7), None]).tolist() == [0, 1, -1]


@pytest.mark.parametrize("form", TEXTS)
def test_texts(form):
    labels, codes = Labels.found(TEXTS[form])
    assert labels.classes == ("a", "b") and codes.tolist() == EXPECTED
    assert Labels.from_json(labels.as_json()) == labels
    with pytest.raises(LogvarError, match="label 'c' is none of .* fitted on: 'a', 'b'$"):
        labels.codes_of(["c"])


@pytest.mark.parametrize(
    "y",
    [pd.Series([1, None, 2**53, 2**53 + 1], dtype="Int64"), pa.array([1, None, 2**53, 2**53 + 1])],
)
def test_integers_stay_integers_beside_unknown_ones(y):
    """As real numbers the last two would be one."""
    labels, codes = Labels.found(y)
    assert labels.array.dtype == np.int64 and codes.tolist() == [0, -1, 1, 2]


def test_labels_of_rows_that_are_left_out_may_be_anything():
    kept = np.array([0, 1, 3])
    for odd in (np.array([1.0, 0.0, np.inf, 1.0]), ["b", "a", 7, "b"], ["b", "a", b"?", "b"]):
        assert Labels.found(odd, kept=kept)[1].tolist() == [1, 0, -1, 1]


def test_a_series_has_the_name_that_messages_have():
    for y in (pd.Series(["a", "a"], name="tree"), pl.Series("tree", ["a", "a"])):
        with pytest.raises(LogvarError, match="^label 'tree' has one class, 'a', in 2 known"):
            Labels.found(y)


def test_all_are_known():
    for y in (np.array([True, False]), ["b", "a"], np.array([9, 4], np.uint8), [2.0, 1.0]):
        labels, codes = Labels.found(y)
        assert codes.tolist() == [1, 0] and labels.array.tolist() == sorted(y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", 1], r"mixes labels of different types \(1 is a int\)"),
        ([0.5, 1.25], "Unknown label type: continuous"),
        ([0.0, np.inf], "contains infinity"),
        ([None, np.nan], "no known label in 2 rows"),
        ([[1, 2], [0, 1]], "y should be a 1d array"),
        (np.array(["2024-01-01"], "M8[D]"), "dtype datetime64"),
    ],
)
def test_what_is_no_label(y, message):
    with pytest.raises(LogvarError, match=message):
        Labels.found(y)
