"""Training: reproducible to the byte, whatever the chunks; matched scales; early stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logvar
from logvar import assembly
from logvar.assembly.decisions import decide
from logvar.assembly.parts import get
from logvar.data.order import epoch_order, split
from logvar.data.sources import load
from logvar.objectives.base import with_inputs
from logvar.recipe import Recipe
from logvar.rescaling.matching import coordinates, matched
from logvar.storage.weights import load_arrays, named_arrays, save_arrays
from logvar.training.loop import train
from logvar.training.state import partition
from logvar.training.step import run_chunk
from tests.cases import slow

DIGITS = load("digits")
SMALL = {
    "latent_dim": 2,
    "network": "mlp(hidden=[16])",
    "batch_size": 64,
    "epochs": 6,
    "patience": 0,
}


class Chunks:
    """A watcher with chunks of one length, that may stop the run after some of them."""

    def __init__(self, steps, stop_after=None):
        self.steps, self.stop_after, self.done = steps, stop_after, 0

    def chunk_steps(self):
        return self.steps

    def on_chunk(self, epoch, done, of, state):
        self.done += 1

    def on_epoch(self, metrics, state):
        pass

    def stop_requested(self):
        return self.stop_after is not None and self.done >= self.stop_after


def run(watcher, state=None, rows=DIGITS.train[:300], validation=DIGITS.train[300:400], **settings):
    recipe = Recipe().replace(**(SMALL | settings)).checked()
    decisions = decide(recipe, rows, custom_networks=False)
    model = assembly.build_model(recipe, decisions, rows.shape[1:])
    into = coordinates(model)
    if recipe.training.match:
        model, into = matched(model, recipe.training.match)
    prepared = assembly.preparation(recipe, decisions)
    objective = with_inputs(get("objective", recipe.objective.objective))
    return train(
        model,
        rows,
        validation,
        objective,
        assembly.build_plan(recipe, prepared, objective),
        watcher,
        coordinates=into,
        state=state,
    )


def as_bytes(tree):
    return {name: np.asarray(leaf).tobytes() for name, leaf in named_arrays(tree).items()}


def test_chunk_length_does_not_change_a_byte():
    runs = [run(Chunks(steps)) for steps in (1, 3, 1000)]
    for other in runs[1:]:
        assert as_bytes(runs[0].state) == as_bytes(other.state)
        assert runs[0].history == other.history


def test_seeds_matter():
    first, second = run(Chunks(9)), run(Chunks(9), random_state=1)
    assert as_bytes(first.model) != as_bytes(second.model)


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_a_saved_state_goes_on_to_the_same_bytes(stop_after, tmp_path):
    whole = run(Chunks(2), binarization="dynamic")
    part = run(Chunks(2, stop_after), binarization="dynamic")
    assert part.ended == "interrupted"
    save_arrays(tmp_path / "state.safetensors", part.state)
    skeleton = jax.eval_shape(lambda: part.state)
    state = load_arrays(tmp_path / "state.safetensors", skeleton)
    rest = run(Chunks(2), state=state, binarization="dynamic")
    assert as_bytes(rest.state) == as_bytes(whole.state)
    assert as_bytes(rest.model) == as_bytes(whole.model)
    assert part.history + rest.history == whole.history


@pytest.mark.parametrize("optimizer", [slow("sgd"), "adam", slow("adamw"), slow("adam-keras")])
def test_log_variance_and_matched_log_std_are_bitwise_equal(optimizer):
    """300 steps in float32: the same metrics, the same weights but for the head's factor ½."""
    settings = {"optimizer": f"{optimizer}(weight_decay=0.01)", "epochs": 60, "clip_norm": 30.0}
    settings["learning_rate"] = 1e-2 if optimizer == "sgd" else 1e-3
    plain = run(Chunks(50), scale="log-variance", **settings)
    other = run(Chunks(50), scale="log-std", match="log-variance", **settings)
    assert int(plain.state.step) == 300
    assert plain.history == other.history
    head, half = plain.state.params.encoder.head, other.state.params.encoder.head
    columns = np.array([1, 1, 0.5, 0.5], np.float32)
    np.testing.assert_array_equal(head.kernel * columns, half.kernel)
    np.testing.assert_array_equal(head.bias * columns, half.bias)
    assert as_bytes(plain.state.params.decoder) == as_bytes(other.state.params.decoder)


def test_unmatched_log_std_is_another_run():
    plain = run(Chunks(50), scale="log-variance")
    swapped = run(Chunks(50), scale="log-std")
    assert plain.history != swapped.history


def test_matching_is_refused_where_it_is_not_exact():
    with pytest.raises(logvar.LogvarError, match="log family"):
        run(Chunks(5), scale="softplus", match="log-variance")


def test_early_stopping_restores_the_best_weights():
    trained = run(Chunks(50), epochs=200, patience=3, learning_rate=0.02, rows=DIGITS.train[:64])
    assert trained.ended == "stopped early"
    elbos = [metrics.validation["elbo"] for metrics in trained.history]
    assert trained.history[-1].best_epoch == int(np.argmax(elbos)) + 1 == len(elbos) - 3
    assert as_bytes(partition(trained.model)[0]) == as_bytes(trained.state.best_params)
    assert as_bytes(trained.state.best_params) != as_bytes(trained.state.params)


def test_a_step_that_is_not_finite_is_not_taken():
    trained = run(Chunks(50), optimizer="sgd", learning_rate=1e4, epochs=50)
    assert trained.ended == "not finite"
    assert int(trained.state.failed_step) == int(trained.state.step) > 0
    assert all(np.isfinite(leaf).all() for leaf in named_arrays(trained.state.params).values())


def test_clipping_bounds_the_step():
    rows = DIGITS.train[:64]
    sizes = {}
    for clip in (0.0, 0.1):
        start = run(Chunks(1, stop_after=0), optimizer="sgd", rows=rows, clip_norm=clip)
        after = run(Chunks(1, stop_after=1), optimizer="sgd", rows=rows, clip_norm=clip,
                    learning_rate=1.0)  # fmt: skip
        moved = jax.tree.map(jnp.subtract, start.state.params, after.state.params)
        sizes[clip] = float(optax.tree.norm(moved))
    assert sizes[0.1] == pytest.approx(0.1, rel=1e-4)
    assert sizes[0.0] > 0.2


def test_every_row_is_visited_once_an_epoch():
    order = epoch_order(1000, 64, seed=3, epoch=2)
    assert len(order) == 1024
    assert sorted(order[:1000]) == list(range(1000))
    assert (order[1000:] == 0).all()
    assert (order != epoch_order(1000, 64, seed=3, epoch=3)).any()


def test_the_last_batchs_padding_counts_for_nothing():
    class Counting(Chunks):
        counts = ()

        def on_chunk(self, epoch, done, of, state):
            self.counts += (float(state.totals.count),)

    watcher = Counting(1000)
    run(watcher, epochs=2)
    assert watcher.counts == (300, 300)  # in five batches of 64


def test_split_is_disjoint_and_complete():
    kept, held_out = split(103, 0.1, seed=0)
    assert len(held_out) == 10
    assert sorted([*kept, *held_out]) == list(range(103))
    assert [len(part) for part in split(2, 0.1, seed=0)] == [1, 1]


def test_one_compilation_serves_all_chunks_epochs_and_learning_rates():
    run(Chunks(3), learning_rate=1e-3)
    before = run_chunk.programs()
    run(Chunks(2), learning_rate=3e-4, epochs=3, objective="elbo(beta=0.5)")
    run(Chunks(5), random_state=7, clip_norm=1.0)
    assert run_chunk.programs() == before


def test_the_pace_stays_finite_over_thousands_of_short_epochs():
    from unittest.mock import Mock

    from logvar.training.pace import Pace
    from logvar.training.state import TrainState

    pace, state = Pace(), Mock(spec=TrainState, step=Mock())
    for epoch in range(3000):
        assert 1 <= pace.chunk_steps() <= 1_000_000
        pace.on_chunk(epoch, 1, 1, state)


def test_a_chunk_after_the_short_one_that_ends_an_epoch_is_no_longer_than_the_others(monkeypatch):
    from unittest.mock import Mock

    from logvar.training import pace as module
    from logvar.training.state import TrainState

    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    pace, state = module.Pace(), Mock(spec=TrainState, step=Mock())
    lengths = []
    for epoch in range(1, 4):
        done = 0
        while done < 1100:
            lengths.append(min(pace.chunk_steps(), 1100 - done))
            done += lengths[-1]
            clock[0] += lengths[-1] / 1000  # a millisecond each
            pace.on_chunk(epoch, done, 1100, state)
    assert 240 <= max(lengths) <= 260
