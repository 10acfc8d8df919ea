"""Work side by side gives what one after another gives, in its order, and leaves settings alone."""

import contextlib
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar import cores as cores_module
from logvar.cores import MOST, cores, side_by_side
from logvar.evaluation import blocks


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(cores_module, "cores", lambda: 2)


def test_two_items_are_under_way_at_once_and_come_back_in_order(two_cores):
    both = threading.Barrier(2, timeout=60)

    def met(item):
        both.wait()
        return -item

    assert side_by_side(met, iter([3, 1, 4, 1])) == [-3, -1, -4, -1]


def test_never_more_than_the_most(monkeypatch):
    monkeypatch.setattr(cores_module, "cores", lambda: 64)
    lock, under_way, seen = threading.Lock(), [0], []

    def counted(_):
        with lock:
            under_way[0] += 1
            seen.append(under_way[0])
        time.sleep(0.01)
        with lock:
            under_way[0] -= 1

    side_by_side(counted, range(5 * MOST))
    assert 1 < max(seen) <= MOST


@pytest.mark.parametrize("available", [1, 2])
def test_an_error_is_raised_and_what_has_not_begun_is_left(monkeypatch, available):
    monkeypatch.setattr(cores_module, "cores", lambda: available)
    begun = []

    def failing(item):
        begun.append(item)
        if item == 0:
            raise KeyError("the first")
        time.sleep(0.01)

    with pytest.raises(KeyError, match="the first"):
        side_by_side(failing, range(1000))
    assert len(begun) < 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable_x64", True), ("default_matmul_precision", "highest"), ("disable_jit", True),
        ("debug_nans", True), ("debug_infs", True), ("numpy_rank_promotion", "warn"),
        ("default_prng_impl", "rbg"), ("check_tracer_leaks", True), ("log_compiles", True),
        ("transfer_guard_device_to_host", "disallow"),
    ],
)  # fmt: skip
def test_settings_of_this_thread_hold(two_cores, name, value):
    """Worked on by this thread, to which alone a `with` applies."""
    with getattr(jax, name)(value):
        assert set(side_by_side(lambda _: threading.get_ident(), range(3))) == {
            threading.get_ident()
        }
    assert threading.get_ident() not in side_by_side(lambda _: threading.get_ident(), range(3))


def test_float64_of_this_thread_holds(two_cores):
    with jax.enable_x64(True):
        found = side_by_side(lambda _: jnp.zeros(1).dtype, range(3))
    assert found == [jnp.float64] * 3
    assert side_by_side(lambda _: jnp.zeros(1).dtype, range(3)) == [jnp.float32] * 3


def test_nothing_to_do(two_cores):
    assert side_by_side(lambda item: item, []) == []


def test_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert cores() == 1


def _scaled(factor, rows):
    return rows * factor, jnp.sum(rows, axis=1)


@pytest.mark.parametrize("n", [1, blocks.BLOCK, 5 * blocks.BLOCK + 3, 6 * blocks.BLOCK])
def test_blocks_side_by_side_are_the_blocks_one_by_one(monkeypatch, n):
    monkeypatch.setattr(blocks, "BLOCKS_AT_ONCE", 2)
    rows = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    found = []
    for available in (1, 3):
        monkeypatch.setattr(cores_module, "cores", lambda available=available: available)
        found.append(blocks.in_blocks(_scaled, jnp.float32(3), rows))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(found[0][0], 3 * rows, rtol=1e-6)
    np.testing.assert_allclose(found[0][1], rows.sum(axis=1), rtol=1e-5, atol=1e-6)


def test_only_blocks_that_go_side_by_side_keep_to_their_core(monkeypatch):
    told = []

    @contextlib.contextmanager
    def on_one_core(when):
        told.append(when)
        yield

    monkeypatch.setattr(blocks, "on_one_core", on_one_core)
    monkeypatch.setattr(blocks, "one_core_differs", lambda: True)  # as with an extension
    for n in (blocks.BLOCK, 2 * blocks.BLOCK):

        def function(factor, rows):  # a new one each time, so that it is traced
            return rows * factor

        blocks.in_blocks(function, jnp.float32(3), np.ones((n, 3), np.float32))
    assert told == [False, True]
