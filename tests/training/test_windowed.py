"""Data that are read when they are needed train to the bytes of the same rows in memory."""

import dataclasses

import jax
import numpy as np
import pytest

import logvar
from logvar.assembly.tables import taken_in
from logvar.backend.streamed import StreamedRows
from logvar.data.examples import Examples
from logvar.data.streamed import streamed_rows
from logvar.data.windows import Order
from logvar.errors import LogvarError
from logvar.processes.placement import Placement
from logvar.training.feed import Streamed
from logvar.training.windowed import Picked, WindowsAhead
from tests.cases import some

ROWS = 400
SETTINGS = dict(latent_dim=2, network="mlp(hidden=[8])", batch_size=32, epochs=2, window=90)
rng = np.random.default_rng(0)
PLAIN = (rng.normal(size=(ROWS, 4)) @ rng.normal(size=(4, 4)) + 3).astype(np.float32)
HOLES = np.where(rng.random((ROWS, 4)) < 0.1, np.nan, PLAIN.astype(np.float64) * 1e7)
PIXELS = rng.integers(0, 256, (ROWS, 4, 4, 1)).astype(np.uint8)
COUNTS = rng.poisson(3.0, (ROWS, 4)) + (np.arange(ROWS) % 7 == 0)[:, None] * 5
CODES = rng.integers(0, [3, 2, 5], (ROWS, 3))
WHOLE = np.column_stack([CODES, PLAIN[:, 0].astype(np.float64), np.full(ROWS, 3.5)])
CASES = {
    "plain": (PLAIN, {}),
    "holes": (HOLES, {}),
    "pixels": (PIXELS, {"likelihood": "bernoulli"}),
    "static": (PIXELS, {"binarization": "static"}),
    "intensities": (PIXELS / 255, {"likelihood": "bernoulli"}),
    "dequantized": (PIXELS, {"likelihood": "normal(noise=optimal)", "dequantize": True}),
    "counts": (COUNTS, {"likelihood": "negative-binomial"}),
    "codes": (CODES, {"likelihood": "categorical"}),
    "columns": (np.where(rng.random(WHOLE.shape) < 0.05, np.nan, WHOLE), {"likelihood": "mixed"}),
    "auto columns": (WHOLE, {}),
    "pseudo-inputs": (PLAIN, {"prior": "vamp(components=5)"}),
}


def bytes_of(vae):
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(vae.model_))


def fitted(X, fit=None, **settings):
    return logvar.VAE(**(SETTINGS | settings)).fit(X, **(fit or {}))


def same(one, other):
    assert one.history_ == other.history_
    assert one.fitted_.data == other.fitted_.data
    assert one.decisions_ == other.decisions_
    assert bytes_of(one) == bytes_of(other)


@pytest.mark.parametrize("name", some(CASES, quick=("holes", "static", "dequantized", "columns")))
def test_rows_in_files_train_to_the_bytes_of_rows_in_memory(tmp_path, name):
    X, settings = CASES[name]
    np.save(tmp_path / "x.npy", X)
    memory = fitted(X, **settings)
    likelihood = settings.get("likelihood", "auto")
    taken = taken_in(str(tmp_path / "x.npy"), likelihood, window=SETTINGS["window"])
    assert isinstance(taken.rows, StreamedRows)
    same(memory, fitted(str(tmp_path / "x.npy"), **settings))
    assert memory.ended_ == "finished"


def test_shards_maps_objects_and_weights(tmp_path):
    class Rows:
        def __len__(self):
            return ROWS

        def __getitem__(self, where):
            return PLAIN[where]

    parts = [tmp_path / f"{i}.npy" for i in range(3)]
    for path, part in zip(parts, np.split(PLAIN, [50, 300]), strict=True):
        np.save(path, part)
    np.save(tmp_path / "x.npy", PLAIN)
    memory = fitted(PLAIN)
    for source in (parts, Rows(), np.load(tmp_path / "x.npy", mmap_mode="r")):
        same(memory, fitted(source))
    weights = {"sample_weight": np.arange(ROWS) % 3}
    told = weights | {"condition": np.arange(ROWS) % 2}
    for fit in (weights, told, {"validation_data": PLAIN[:30]}):
        same(fitted(PLAIN, fit), fitted(parts, fit))


def test_a_window_of_all_rows_changes_nothing(tmp_path):
    np.save(tmp_path / "x.npy", PLAIN)
    plain = fitted(PLAIN, window="auto")
    for window in ("all", ROWS, 10**9):
        assert bytes_of(fitted(str(tmp_path / "x.npy"), window=window)) == bytes_of(plain)
    assert bytes_of(fitted(PLAIN, window=ROWS - 1)) != bytes_of(plain)


def test_a_run_goes_on_from_the_middle_of_an_epoch(tmp_path):
    np.save(tmp_path / "x.npy", PLAIN)
    source = str(tmp_path / "x.npy")
    whole = fitted(source, epochs=3)

    class Stops:
        def __init__(self, after):
            self.left = after

        def chunk_steps(self):
            return 2

        def on_chunk(self, epoch, done, of, state):
            self.left -= 1

        def on_epoch(self, metrics, state):
            pass

        def stop_requested(self):
            return self.left <= 0

    for after in (1, 4, 9):
        folder = tmp_path / str(after)
        vae = logvar.VAE(**(SETTINGS | {"epochs": 3}))
        with pytest.raises(KeyboardInterrupt):
            vae.fit(source, watcher=Stops(after), checkpoints=folder)
        vae.fit(source, checkpoints=folder, resume=True)
        same(whole, vae)


def test_a_file_that_changes_while_it_is_trained_on_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, PLAIN)

    class Writes:
        def chunk_steps(self):
            return 1

        def on_chunk(self, epoch, done, of, state):
            np.save(path, PLAIN + 1)

        def on_epoch(self, metrics, state):
            pass

        def stop_requested(self):
            return False

    with pytest.raises(LogvarError, match=r"x\.npy changed while it was read"):
        logvar.VAE(**(SETTINGS | {"epochs": 50})).fit(str(path), watcher=Writes())


class Counting:
    """Rows that are their own numbers, and count how many of them are read."""

    name, shape, dtype = "counted", (ROWS, 1), np.dtype(np.float32)
    read_rows = 0

    def read(self, where):
        rows = np.arange(ROWS)[where]
        Counting.read_rows += len(rows)
        return rows[:, None].astype(np.float32)

    def check(self):
        pass


@dataclasses.dataclass(frozen=True)
class OneOf(Placement):
    """The devices of several processes with one device each, as one of them sees them."""

    index: int = 0
    of: int = 1

    @property
    def parts(self):
        return self.of

    @property
    def here(self):
        return slice(self.index, self.index + 1)

    def cut(self, tree):
        return jax.device_put(tree)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_each_process_reads_its_own_rows_and_together_they_have_the_batches(processes):
    batch = 20
    own = dict(
        condition=np.arange(ROWS, dtype=np.float32)[:, None],
        label=np.arange(ROWS, dtype=np.int32),
        weight=np.arange(ROWS, dtype=np.float32),
    )
    examples = Examples(StreamedRows(Counting()), None, **own)
    order = Order(ROWS, seed=0, window=64)
    for epoch, first in ((0, 0), (1, 7)):
        parts = []
        for index in range(processes):
            feed = Streamed(
                Picked(examples), batch, order.visits, bytes_per_span=3 * batch * 16,
                placement=OneOf((), index, processes),
            )  # fmt: skip
            Counting.read_rows = 0
            found = []
            for span in feed.spans(epoch, first):
                rows = span.epoch.rows
                x = np.asarray(rows.x)[:, 0]
                for other in (rows.condition[:, 0], rows.label, rows.weight):
                    np.testing.assert_array_equal(x, other)
                steps = x.reshape(-1, batch // processes)
                found.append(steps[: span.stop - span.start])
            parts.append(np.concatenate(found))
            # Its part of each batch; the last span is filled up with one row.
            assert Counting.read_rows <= (ROWS - first * batch) // processes + 1
        together = np.concatenate(parts, axis=1).reshape(-1).astype(int)
        np.testing.assert_array_equal(together, order.rows(epoch, first * batch, ROWS))


def test_windows_are_read_ahead_and_each_row_once():
    order = Order(ROWS, seed=0, window=64)
    ahead = WindowsAhead(Examples(StreamedRows(Counting()), None), order)
    feed = Streamed(ahead, 10, ahead.visits, bytes_per_span=2 * 10 * 4)
    Counting.read_rows = 0
    for epoch in range(3):
        found = []
        for span in feed.spans(epoch, 0):
            rows = np.asarray(span.epoch.rows.x)[:, 0].astype(int)
            found += rows[: ROWS - 10 * span.start][: 10 * (span.stop - span.start)].tolist()
        np.testing.assert_array_equal(found, order.rows(epoch, 0, ROWS))
    # Each window once, and those of the following epoch that were read ahead.
    assert 3 * ROWS <= Counting.read_rows <= 3 * ROWS + 64
    # A run that goes on from the middle reads no window before its own.
    Counting.read_rows = 0
    span = next(feed.spans(5, 20))
    first = np.asarray(span.epoch.rows.x)[0, 0]
    assert first == order.rows(5, 200, 201)[0] and Counting.read_rows <= 4 * 64


def test_streamed_rows_say_so_where_they_cannot_be(tmp_path):
    np.save(tmp_path / "x.npy", np.where(np.arange(ROWS)[:, None] == 333, -1, COUNTS))
    with pytest.raises(LogvarError, match="row 333, column 0"):
        fitted(str(tmp_path / "x.npy"), likelihood="poisson")
    np.save(tmp_path / "x.npy", np.full((ROWS, 2), np.nan))
    with pytest.raises(LogvarError, match="no value in any of"):
        fitted(str(tmp_path / "x.npy"), likelihood="normal")
    with pytest.raises(LogvarError, match="window is 'some'"):
        fitted(PLAIN, window="some")
    with pytest.raises(LogvarError, match="window is 0"):
        fitted(PLAIN, window=0)
    assert len(streamed_rows(PLAIN)) == ROWS


def test_a_parquet_file_of_mixed_columns_trains_as_the_table_in_memory(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {
            "level": pa.array(np.array(["a", "b", "c"], object)[CODES[:, 0]]),
            "count": COUNTS[:, 0],
            "real": pa.array(HOLES[:, 1], from_pandas=True),
            "constant": np.full(ROWS, 7),
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=70)
    parquet.write_table(table.slice(0, 33), tmp_path / "1.parquet")
    parquet.write_table(table.slice(33), tmp_path / "2.parquet")
    memory = fitted(table)
    same(memory, fitted(str(tmp_path / "x.parquet")))
    same(memory, fitted([tmp_path / "1.parquet", tmp_path / "2.parquet"]))
    assert memory.fitted_.units.holes.shares.max() < 1
    plain = fitted(table, window="all")
    assert bytes_of(fitted(str(tmp_path / "x.parquet"), window="all")) == bytes_of(plain)
    told = fitted(table, {"condition": ["level"]})
    same(told, fitted(str(tmp_path / "x.parquet"), {"condition": ["level"]}))
