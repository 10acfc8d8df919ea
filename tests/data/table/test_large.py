"""Tables that are read in parts are found and modelled as the same table in memory."""

import collections
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logvar.assembly.tables import taken_in, taken_in_again
from logvar.backend.streamed import StreamedRows
from logvar.data import sampled
from logvar.data.table.frame import as_table
from logvar.data.table.large import InMemory, cells_of_large, large_table, sampled_table
from logvar.data.table.units import TableUnits
from logvar.errors import LogvarError

ROWS = 3000
rng = np.random.default_rng(0)
LEVELS = rng.choice(["a", "b", "c"], ROWS).astype(object)
LEVELS[2345] = "rare"
LEVELS[::50] = None
COUNTS = rng.poisson(4, ROWS).astype(float)
COUNTS[1234] = 77
REAL = np.round(rng.normal(5, 2, ROWS), 1)
REAL[2222] = -9.125
CONSTANT = np.full(ROWS, 2.0)
CONSTANT[1999] = 3.0
TABLE = pa.table(
    {
        "level": pa.array(LEVELS),
        "count": pa.array(COUNTS).cast(pa.int64()),
        "real": pa.array(np.where(rng.random(ROWS) < 0.1, np.nan, REAL), from_pandas=True),
        "long tail": np.exp(rng.normal(0, 2, ROWS)),
        "day": pa.array(rng.integers(0, 9000, ROWS)).cast(pa.int32()).cast(pa.date32()),
        "almost constant": CONSTANT,
        "id": pa.array([f"row {i}" for i in range(ROWS)]),
    }
)


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    monkeypatch.setattr("logvar.data.table.large.NUMBERS_AT_ONCE", 7 * 256)


def files(folder):
    pq.write_table(TABLE, folder / "x.parquet", row_group_size=700)
    pq.write_table(TABLE.slice(0, 1100), folder / "a.parquet")
    pq.write_table(TABLE.slice(1100), folder / "b.parquet", row_group_size=300)
    with pa.ipc.new_file(folder / "x.arrow", TABLE.schema) as sink:
        sink.write_table(TABLE, max_chunksize=500)
    with pa.ipc.new_stream(folder / "stream.arrow", TABLE.schema) as sink:
        sink.write_table(TABLE, max_chunksize=500)
    return {
        "parquet": folder / "x.parquet",
        "shards": [folder / "a.parquet", str(folder / "b.parquet")],
        "arrow": folder / "x.arrow",
        "stream": folder / "stream.arrow",
    }


def test_files_give_the_cells_of_the_table_in_memory(tmp_path):
    memory = taken_in(TABLE, "auto")
    for name, source in files(tmp_path).items():
        given = taken_in(source, "auto", window=100)
        assert isinstance(given.rows, StreamedRows), name
        assert given.form.schema == memory.form.schema, name
        np.testing.assert_array_equal(given.rows[:], memory.rows)
        np.testing.assert_array_equal(given.rows[[2999, 5, 1100]], memory.rows[[2999, 5, 1100]])
        whole = taken_in(source, "auto", window="all")
        assert whole.form.schema == memory.form.schema
        np.testing.assert_array_equal(whole.rows, memory.rows)
        again = taken_in_again(large_table(source), memory.form)
        np.testing.assert_array_equal(again.rows[:], memory.rows)


def test_some_columns_are_those_alone(tmp_path):
    names = tuple(TABLE.column_names[2:0:-1])
    for table in (InMemory(as_table(TABLE), "X"), large_table(files(tmp_path)["shards"])):
        some = table.columns(names)
        assert some.names == names and len(some.natives) == 2
        for name in names:
            assert some[name].to_pylist() == TABLE[name].to_pylist()


def test_a_sample_has_what_only_few_rows_show(monkeypatch, tmp_path):
    monkeypatch.setattr(sampled, "ENOUGH", 100)
    in_memory = InMemory(as_table(TABLE), "X")
    for table in (in_memory, large_table(files(tmp_path)["shards"])):
        some = sampled_table(table, seed=0)
        assert 100 < len(some) < 200
        assert "rare" in some["level"].to_pylist()
        assert max(some["count"].to_pylist()) == 77
        assert -9.125 in some["real"].to_pylist() and 3.0 in some["almost constant"].to_pylist()
    memory, streamed = (
        taken_in(X, "auto", window=100) for X in (TABLE, files(tmp_path)["parquet"])
    )
    schema = memory.form.schema
    assert schema == streamed.form.schema
    np.testing.assert_array_equal(memory.rows, streamed.rows[:])
    assert schema["level"].levels == ("a", "b", "c", "rare")
    assert schema["almost constant"].kind == "count" and schema["real"].step == 0.001
    assert schema["id"].kind == "identifier"


def test_units_count_levels_over_all_rows_and_fit_numbers_to_the_sample():
    given = taken_in(TABLE, "auto", window=100)
    columns = given.form.schema.modelled
    some = given.rows[::10]
    units = TableUnits.of_cells(given.rows, columns, some)
    whole, part = TableUnits.of_cells(given.rows, columns), TableUnits.of_cells(some, columns)
    np.testing.assert_array_equal(units.counts[0], whole.counts[0])
    assert units.counts[0].sum() == 2940
    for j in range(1, len(columns)):
        np.testing.assert_array_equal(units.counts[j], part.counts[j])


def test_conditions_of_files_are_kept_in_memory(tmp_path):
    given = taken_in(files(tmp_path)["parquet"], "auto", conditions=["level"], window=100)
    assert given.rows.shape == (ROWS, 5)
    assert given.table["level"].to_pylist() == TABLE["level"].to_pylist()


def test_arrow_gives_memory_back_after_each_pass(tmp_path, monkeypatch):
    given = large_table(files(tmp_path)["parquet"])
    released = []

    class Pool:
        def release_unused(self):
            released.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(pa, "default_memory_pool", Pool)
        for passes in (1, 2):
            assert sum(len(some) for _, some in given.blocks()) == ROWS
            assert len(released) == passes


def test_what_is_wrong_with_a_file_is_one_line(tmp_path):
    first, second = files(tmp_path)["shards"]
    pq.write_table(TABLE.slice(1100).drop_columns(["real"]), second)
    with pytest.raises(LogvarError, match=r"from row 1,100 .* 'real', which .*a\.parquet has:"):
        taken_in([first, second], "auto", window=100)
    pq.write_table(TABLE.set_column(1, "count", pa.array(COUNTS)).slice(1100), second)
    with pytest.raises(LogvarError, match=r"has double in column 'count', where .* has int64"):
        taken_in([first, second], "auto", window=100)
    content = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[:-100])
    with pytest.raises(LogvarError, match=r"b\.parquet cannot be read"):
        taken_in([first, second], "auto", window=100)
    (tmp_path / "b.parquet").write_bytes(content[:500] + b"x" * 9000 + content[9500:])
    with pytest.raises(LogvarError, match=r"b\.parquet cannot be read"):
        taken_in([first, second], "auto", window=100)
    memory = taken_in(TABLE, "auto")
    pq.write_table(
        TABLE.set_column(0, "level", pa.array(["new" if i == 1500 else "a" for i in range(ROWS)])),
        second,
    )
    with pytest.raises(LogvarError, match=r"rows from 1,280 on.* has the level 'new' at row 220"):
        cells_of_large(large_table([second]), memory.form.schema, "X")


@pytest.mark.parametrize("form", ["file", "stream", "parquet"])
def test_a_file_cut_off_while_it_is_read_is_one_line(tmp_path, form):
    """With a memory map, the process ends without a word."""
    rows = 400_000
    table = pa.table({"a": np.arange(rows), "b": np.random.default_rng(0).random(rows)})
    path = tmp_path / f"table.{'parquet' if form == 'parquet' else 'arrow'}"
    if form == "parquet":
        pq.write_table(table, path, row_group_size=20_000)
    else:
        begin = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as file, begin(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=20_000)
    blocks = large_table(path).blocks()
    next(blocks)
    os.truncate(path, 300_000)
    with pytest.raises(LogvarError, match="changed while it was read"):
        collections.deque(blocks, maxlen=0)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    class Full:
        def close(self):
            pass

        def write(self, view):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("logvar.data.streams.scratch.temporary_file", lambda what: Full())
    with pytest.raises(LogvarError, match=r"No space left on device.*set TMPDIR"):
        taken_in(files(tmp_path)["parquet"], "auto", window=100)
