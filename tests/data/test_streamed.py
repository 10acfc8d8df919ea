"""Rows that are read when they are needed are the rows of the array that they stand for."""

import os

import numpy as np
import pytest

from logvar.backend.streamed import StreamedRows, blocks, passing_over
from logvar.data.standardization import Standardization
from logvar.data.streamed import is_streamed, streamed_rows
from logvar.errors import LogvarError

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)


class Only:
    """An object with nothing but a length and indexing by an array of rows."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, where):
        assert isinstance(where, np.ndarray) and (np.diff(where) > 0).all()
        return self.rows[where].tolist()


def saved(folder, rows, name="x.npy"):
    np.save(folder / name, rows)
    return folder / name


def sources(folder):
    whole = saved(folder, X)
    parts = [saved(folder, X[a:b], f"{a}.npy") for a, b in ((0, 4), (4, 5), (5, 23))]
    return {
        "file": whole,
        "map": np.load(whole, mmap_mode="r"),
        "shards": list(map(str, parts)),
        "object": Only(X.astype(np.float64)),
        "mixed": [np.load(parts[0], mmap_mode="r"), parts[1], parts[2]],
    }


WHERE = [
    slice(None), slice(3, 6), slice(22, 3, -4), slice(5, 5), [4, 1, 4, 22, 0], [-1, 2], [],
    np.arange(23) % 3 == 0, np.arange(4, 9),
]  # fmt: skip


def test_all_sources_give_the_rows_that_an_array_gives(tmp_path):
    for name, source in sources(tmp_path).items():
        assert is_streamed(source), name
        rows = streamed_rows(source)
        assert (rows.shape, rows.ndim, len(rows)) == ((23, 3), 2, 23)
        for where in WHERE:
            index = np.asarray(where, int) if isinstance(where, list) else where
            got = rows[where]
            np.testing.assert_array_equal(got, X[index], err_msg=f"{name} {where}")
            assert isinstance(got, np.ndarray) and got.dtype == rows.dtype
        np.testing.assert_array_equal(rows[-2], X[-2])
        np.testing.assert_array_equal(rows.in_memory(), X)


def test_views_are_read_through(tmp_path):
    rows = streamed_rows(sources(tmp_path)["shards"])
    left_out = np.array([0, 3, 4, 5, 20])
    kept = np.setdiff1d(np.arange(23), left_out)
    rest = rows.without(left_out)
    assert rest.shape == (18, 3)
    for where in ([0, 17, 3], slice(1, 18, 5), slice(None)):
        np.testing.assert_array_equal(rest[where], X[kept][where])
    np.testing.assert_array_equal(rows.at(left_out)[[4, 0]], X[left_out][[4, 0]])
    seen = []

    def doubled(some, where):
        seen.append(where)
        return 2.0 * some

    double = rest.converted(doubled, np.float64)
    np.testing.assert_array_equal(double[2:5], 2.0 * X[kept][2:5])
    assert seen == [slice(2, 5)] and double.dtype == np.float64
    with pytest.raises(TypeError, match="in_memory"):
        np.asarray(double)


@pytest.mark.parametrize("seed", range(5))
def test_positions_pass_over_the_rows_left_out(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    left_out = np.flatnonzero(rng.random(n) < 0.4)
    kept = np.setdiff1d(np.arange(n), left_out)
    np.testing.assert_array_equal(passing_over(np.arange(len(kept)), left_out), kept)


def test_blocks_are_the_same_wherever_the_rows_are(tmp_path):
    streamed = list(blocks(streamed_rows(saved(tmp_path, X)), numbers=12))
    assert [block.start for block in streamed] == [0, 4, 8, 12, 16, 20]
    for ours, plain in zip(streamed, blocks(X, numbers=12), strict=True):
        np.testing.assert_array_equal(ours.rows, plain.rows)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [("float16", "float32"), ("int64", "float64"), ("bool", "uint8"), ("uint8", "uint8")],
)
def test_dtypes_are_those_of_an_array_in_memory(tmp_path, given, dtype):
    values = np.arange(6).reshape(3, 2).astype(given)
    rows = streamed_rows(saved(tmp_path, values))
    assert rows.dtype == rows[:].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(rows[:], values)


def test_what_cannot_be_read_is_one_line_with_its_name_and_row(tmp_path):
    first, second = saved(tmp_path, X, "a.npy"), saved(tmp_path, X, "b.npy")
    with open(second, "r+b") as file:
        file.truncate(second.stat().st_size - 20)
    with pytest.raises(LogvarError, match=r"b\.npy is cut off in row 21: expected 23 rows"):
        streamed_rows([first, second])
    saved(tmp_path, X[:, :2], "b.npy")
    with pytest.raises(LogvarError, match=r"b\.npy \(from row 23 of all\) has float32 .* \(2,\)"):
        streamed_rows([first, second])
    saved(tmp_path, X.astype(np.float64), "b.npy")
    with pytest.raises(LogvarError, match="float64 examples"):
        streamed_rows([first, second])
    saved(tmp_path, np.where(np.arange(23)[:, None] == 9, np.inf, X), "b.npy")
    with pytest.raises(LogvarError, match=r"b\.npy has infinity in column 0 of row 9"):
        streamed_rows(second)[[2, 9]]
    with pytest.raises(
        LogvarError, match=r"b\.npy has infinity .* row 9 \(row 32 of all, counting"
    ):
        streamed_rows([first, second])[20:]
    np.save(first, np.asfortranarray(X))
    with pytest.raises(LogvarError, match="ascontiguousarray"):
        streamed_rows(first)
    with pytest.raises(LogvarError, match="check the path"):
        streamed_rows(tmp_path / "absent.npy")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(LogvarError, match=r"a\.npy cannot be read"):
        streamed_rows(first)
    with pytest.raises(LogvarError, match="0 rows"):
        streamed_rows(Only(X[:0]))
    with pytest.raises(LogvarError, match="takes an array of row numbers"):
        streamed_rows(type("Strict", (Only,), {"__getitem__": lambda self, i: [][i]})(X))


def test_a_file_that_changes_is_refused(tmp_path):
    path = saved(tmp_path, X)
    rows = streamed_rows(path)
    rows.check()
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 40)
    with pytest.raises(LogvarError, match=r"x\.npy changed while it was read"):
        rows[:]
    saved(tmp_path, X)
    os.utime(path, ns=(1, 1))
    with pytest.raises(LogvarError, match="was written to"):
        rows.check()


def test_arrays_and_frames_are_not_streamed():
    import pandas as pd
    import scipy.sparse as sp

    for X_in_memory in (X, X.tolist(), pd.DataFrame(X), sp.csr_matrix(X), {"a": [1, 2]}, "a.csv"):
        assert not is_streamed(X_in_memory)
    assert isinstance(streamed_rows(X), StreamedRows)


def test_training_rows_are_standardized_to_the_same_bytes_again():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(90, 5)).astype(np.float32) * 3 + 7
    huge = 3.4e38 * rng.choice([-1, 1], (90, 2)).astype(np.float32)
    for rows in (plain, np.where(plain > 9, np.nan, plain), huge, plain.astype(np.float64) * 1e9,
                 rng.integers(0, 256, (90, 3, 3, 1)).astype(np.uint8)):  # fmt: skip
        units = Standardization.of_rows(rows[:60])
        seen = units.seen(rows)
        assert seen.tobytes() == units.to_model(rows)[0].tobytes() and seen.dtype == np.float32
