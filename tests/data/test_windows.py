"""Rows shuffled a window at a time: each is visited once, and any position can be computed."""

import itertools
import tracemalloc

import numpy as np
import pytest

from logvar.backend.streamed import StreamedRows
from logvar.data.order import split
from logvar.data.splitting import split_of
from logvar.data.windows import BLOCKS, Order, Window, drawn_rows, window_of
from logvar.errors import LogvarError
from logvar.randomness import Purpose, host_stream

SIZES = [
    (n, w)
    for n in (1, 2, 3, 10, 64, 65, 127, 640, 1000, 1001)
    for w in (1, 2, 7, 63, 64, 65, 128, 200, 999, 1000, 5000)
]


@pytest.mark.parametrize(("n", "window"), SIZES)
def test_every_row_is_visited_once_and_any_position_is_found_from_the_middle(n, window):
    order = Order(n, seed=3, window=window)
    for epoch in (0, 1, 7):
        whole = np.concatenate([order.of_window(epoch, w) for w in range(order.windows)])
        np.testing.assert_array_equal(np.sort(whole), np.arange(n))
        np.testing.assert_array_equal(order.rows(epoch, 0, n), whole)
        ends = [order.bounds(epoch, w) for w in range(order.windows)]
        assert ends[0][0] == 0 and ends[-1][1] == n
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
        assert all(stop - start <= max(window, 1) for start, stop in ends) or window >= n
        for position in {0, n // 3, n // 2, n - 1}:
            fresh = Order(n, seed=3, window=window)
            w = fresh.window_at(epoch, position)
            assert ends[w][0] <= position < ends[w][1]
            stop = min(n, position + 5)
            np.testing.assert_array_equal(fresh.rows(epoch, position, stop), whole[position:stop])


def test_a_window_of_all_rows_is_the_order_that_it_always_was():
    plain = host_stream(5, Purpose.ORDER, 2).permutation(100)
    for window in (100, 101, 10**9):
        np.testing.assert_array_equal(Order(100, 5, window).rows(2, 0, 100), plain)


def test_windows_are_blocks_from_all_over_the_data_and_shuffled():
    order = Order(n=100_000, seed=0, window=6400)
    assert order.block == 100 and len(order.pieces(0, 3)) == BLOCKS
    rows = order.of_window(0, 3)
    assert rows.min() < 10_000 and rows.max() > 90_000
    assert (np.diff(rows) == 1).mean() < 0.01, "rows within a window are shuffled"
    others = [order.of_window(1, 3), order.of_window(0, 4), Order(100_000, 1, 6400).of_window(0, 3)]
    assert all(not np.array_equal(rows, other) for other in others)
    # The positions within windows, and the permutation of blocks, are not the same numbers.
    ranks = [np.argsort(np.argsort(order.of_window(0, w))) for w in (0, 1)]
    assert not np.array_equal(*ranks)
    small = Order(n=100, seed=0, window=50)  # blocks of one row
    first = small.of_window(0, 0)
    assert not np.array_equal(first, host_stream(0, Purpose.ORDER, 0).permutation(100)[:50])


def test_no_memory_grows_with_the_rows():
    tracemalloc.start()
    order = Order(n=10**10, seed=0, window=10**6)
    order.rows(0, 5 * 10**9, 5 * 10**9 + 128)
    drawn_rows(10**10, 1000, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # a window of a million rows, and the permutation of 640,000 blocks


def test_held_out_rows_are_drawn_alike_and_each_is_as_likely():
    counts = np.zeros(6)
    for seed in range(3000):
        rows = drawn_rows(6, 4, np.random.default_rng(seed))
        assert len(rows) == 4 and (np.diff(rows) > 0).all()
        counts[rows] += 1
    np.testing.assert_allclose(counts / 3000, 4 / 6, atol=0.04)
    pairs = {tuple(drawn_rows(4, 2, np.random.default_rng(seed))) for seed in range(200)}
    assert len(pairs) == 6
    np.testing.assert_array_equal(drawn_rows(5, 5, np.random.default_rng(0)), np.arange(5))


def test_a_window_depends_on_the_data_alone():
    few = np.zeros((10, 4), np.float32)
    assert window_of("auto", few).is_all_of(10) and window_of("all", few).is_all_of(10)
    large = StreamedRows(Shaped((3_000_000, 784), np.dtype(np.uint8)))
    assert window_of("auto", large) == (2**26 // 784, 2**25 // 784)
    assert window_of("all", large).is_all_of(len(large))
    numbers = StreamedRows(Shaped((3_000_000, 10), np.dtype(np.float64)))
    assert window_of("auto", numbers).is_all_of(3_000_000)  # 120 MB as float32
    assert window_of("auto", numbers, 6).is_all_of(3_000_000)
    assert window_of("auto", StreamedRows(Shaped((10**7, 10), np.dtype(float))), 6).rows == 279_620
    for wrong in ("some", 0, -3):
        with pytest.raises(LogvarError, match="window is"):
            window_of(wrong, few)


def test_the_split_of_windowed_rows():
    n = 1000
    for window in (Window(n, 7), Window(5000, 1)):
        found = split_of(n, 0.2, 3, window)
        trained, held_out = split(n, 0.2, 3)
        np.testing.assert_array_equal(found.trained, trained)
        np.testing.assert_array_equal(found.held_out, held_out)
    few = split_of(n, 0.2, 3, Window(64, 7))
    assert len(few.held_out) == 7 and (np.diff(few.held_out) > 0).all()
    np.testing.assert_array_equal(few.trained, np.setdiff1d(np.arange(n), few.held_out))
    assert len(split_of(n, 0.2, 3, Window(64, 10**6)).held_out) == 200
    assert len(split_of(n, 0.0, 3, Window(64, 10**6)).held_out) == 0
    other = split_of(n, 0.2, 4, Window(64, 7))
    assert not np.array_equal(few.held_out, other.held_out)


class Shaped:
    """Rows that are never read."""

    name = "shaped"

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype

    def read(self, where):
        raise AssertionError("read")

    def check(self):
        pass


def test_the_order_of_a_window_is_a_stream_of_its_own():
    order = Order(n=1001, seed=2, window=200)
    rows = np.concatenate([np.arange(*piece) for piece in order.pieces(4, 0)])
    expected = host_stream(2, Purpose.ORDER, 4, 1).permutation(rows)
    np.testing.assert_array_equal(order.of_window(4, 0), expected)
