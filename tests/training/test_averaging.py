"""Averaged weights: the moving average itself, and what is evaluated, kept and resumed."""

import jax
import numpy as np
import pytest

import logvar
from logvar.recipe import Recipe
from logvar.storage.weights import load_arrays, named_arrays, save_arrays
from logvar.training.state import partition
from tests.training.test_training import Chunks, as_bytes, run

KEPT = 0.9
AVERAGED = {"average_weights": KEPT, "epochs": 2, "network": "mlp(hidden=[8])"}


class Recorded(Chunks):
    """A watcher that keeps the weights after each step."""

    def __init__(self):
        super().__init__(1)
        self.weights = []

    def on_chunk(self, epoch, done, of, state):
        arrays = named_arrays(state.params).items()
        self.weights.append({name: np.array(leaf, np.float64) for name, leaf in arrays})


@pytest.fixture(scope="module")
def recorded():
    watcher = Recorded()
    return run(watcher, **AVERAGED), watcher.weights


def test_it_is_the_moving_average_with_bias_correction(recorded):
    trained, weights = recorded
    t = len(weights)
    shares = np.array([(1 - KEPT) * KEPT ** (t - 1 - s) for s in range(t)]) / (1 - KEPT**t)
    assert t == 10
    for name, leaf in named_arrays(trained.state.average).items():
        expected = sum(s * step[name] for s, step in zip(shares, weights, strict=True))
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6)
    assert as_bytes(trained.state.average) != as_bytes(trained.state.params)


def test_the_average_does_not_change_training(recorded):
    plain = run(Chunks(50), **AVERAGED | {"average_weights": 0.0})
    assert as_bytes(plain.state.params) == as_bytes(recorded[0].state.params)
    assert plain.state.average is None
    assert [line.train for line in plain.history] == [line.train for line in recorded[0].history]
    assert [line.validation for line in plain.history] != [
        line.validation for line in recorded[0].history
    ]


def test_the_average_is_what_is_evaluated_and_kept(recorded):
    trained, _ = recorded
    assert trained.history[-1].best_epoch == 2
    assert as_bytes(trained.state.best_params) == as_bytes(trained.state.average)
    assert as_bytes(partition(trained.model)[0]) == as_bytes(trained.state.average)


def test_without_held_out_rows_the_average_is_kept():
    trained = run(Chunks(50), validation=None, **AVERAGED)
    assert as_bytes(partition(trained.model)[0]) == as_bytes(trained.state.average)


def test_a_saved_state_goes_on_to_the_same_bytes(recorded, tmp_path):
    part = run(Chunks(1, 3), **AVERAGED)
    save_arrays(tmp_path / "state.safetensors", part.state)
    state = load_arrays(tmp_path / "state.safetensors", jax.eval_shape(lambda: part.state))
    rest = run(Chunks(1), state=state, **AVERAGED)
    assert as_bytes(rest.state) == as_bytes(recorded[0].state)


def test_a_range_is_checked():
    with pytest.raises(logvar.LogvarError, match="average_weights is 1.0"):
        Recipe().replace(average_weights=1).checked()
