"""Feeds: rows that are read ahead train to the same bytes as rows on the device."""

import dataclasses

import jax
import numpy as np
import pytest

import logvar
from logvar.data.examples import Examples
from logvar.data.order import epoch_order
from logvar.training.feed import Resident, Streamed
from logvar.training.step import batch_at

ROWS, BATCH, SEED = 150, 32, 5


cut = jax.jit(lambda epoch, t: batch_at(epoch, epoch.order, t, BATCH))


def whole(epoch, position):
    yield epoch_order(ROWS, BATCH, SEED, epoch)[position:ROWS].astype(np.int64)


def in_windows(epoch, position):
    order = epoch_order(ROWS, BATCH, SEED, epoch)[position:ROWS]
    yield from np.split(order, range(7, len(order), 7))


def examples(**fields):
    values = np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
    return dataclasses.replace(Examples(values, None), **fields)


FIELDS = {
    "plain": {},
    "weighted": {"weight": np.linspace(1, 2, ROWS, dtype=np.float32)},
    "told": {
        "condition": np.arange(ROWS, dtype=np.float32)[:, None],
        "label": np.arange(ROWS, dtype=np.int32) % 3,
    },
}


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("visits", [whole, in_windows])
@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_the_batches_are_those_of_rows_on_the_device(fields, visits, first):
    rows = examples(**fields)
    resident = Resident(rows, BATCH, SEED)
    streamed = Streamed(rows, BATCH, visits, bytes_per_span=2 * BATCH * 12)
    assert (streamed.rows, streamed.steps) == (resident.rows, resident.steps) == (ROWS, 5)
    (one,) = resident.spans(1, first)
    steps = list(range(first, 5))
    seen = []
    for span in streamed.spans(1, first):
        for t in range(span.start, span.stop):
            found = cut(span.epoch, t)
            expected = cut(one.epoch, t)
            same_where_they_count(found, expected)
            seen.append(t)
    assert seen == steps
    for t in steps:
        for feed in (resident, streamed):
            batch, valid = feed.batch(1, t)
            same_where_they_count(batch, cut(one.epoch, t))
            assert (valid == epoch_order(ROWS, BATCH, SEED, 1)[t * BATCH : ROWS][:BATCH]).all()


def same_where_they_count(found, expected):
    """Compare two batches; padding, of weight 0, may hold any row."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    counts = np.asarray(expected.weight) > 0
    assert (np.asarray(found.weight) == expected.weight).all()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (np.asarray(a)[counts] == np.asarray(b)[counts]).all()


def test_all_spans_of_an_epoch_share_a_program():
    streamed = Streamed(examples(), BATCH, in_windows, bytes_per_span=2 * BATCH * 12)
    shapes = {jax.tree.map(np.shape, span.epoch) for span in streamed.spans(0, 0)}
    assert len(shapes) == 1


def test_an_error_while_reading_ahead_is_raised_in_its_place():
    class Broken(Examples):
        def cut(self, rows):
            if 100 in rows:
                raise OSError("row 100 cannot be read")
            return super().cut(rows)

    rows = Broken(np.zeros((ROWS, 3), np.float32), None)
    in_order = lambda epoch, position: iter([np.arange(position, ROWS)])  # noqa: E731
    spans = Streamed(rows, BATCH, in_order, bytes_per_span=BATCH * 12).spans(0, 0)
    assert [next(spans).start for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="row 100"):
        next(spans)


def test_a_feed_can_be_left_in_the_middle():
    streamed = Streamed(examples(), BATCH, whole, bytes_per_span=BATCH * 12)
    spans = streamed.spans(0, 0)
    next(spans)
    spans.close()
    assert next(streamed.spans(0, 0)).start == 0


def test_a_streamed_run_ends_in_the_same_bytes(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(ROWS + 10, 3)).astype(np.float32)
    settings = dict(
        latent_dim=2, network="mlp(hidden=[8])", batch_size=BATCH, epochs=3, random_state=SEED,
        learning_rate="cosine(1e-3, warmup=1)", likelihood="normal(noise=optimal)",
    )  # fmt: skip
    fit = lambda: logvar.VAE(**settings).fit(rows[:ROWS], validation_data=rows[ROWS:])  # noqa: E731
    first = fit()
    monkeypatch.setattr(
        "logvar.training.loop.Resident",
        lambda examples, size, seed, _: Streamed(examples, size, in_windows, 2 * BATCH * 12),
    )
    second = fit()
    assert second.history_ == first.history_
    for a, b in zip(*(jax.tree.leaves(vae.model_) for vae in (first, second)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
