"""An objective's own weights, such as a critic's: carried, saved, resumed, held back."""

import jax
import numpy as np
import pytest

import logvar
from logvar.storage.weights import load_arrays, named_arrays, save_arrays
from logvar.training.extras import initial_extras
from tests.training.test_training import Chunks, as_bytes, run

FACTOR = {"objective": "factor(hidden=[8], critic_rate=1e-3)", "network": "mlp(hidden=[8])"}
FACTOR |= {"epochs": 2}


@pytest.fixture(scope="module")
def whole():
    return run(Chunks(2), **FACTOR)


def test_a_critic_learns_beside_the_model(whole):
    objective = logvar.objectives.get(FACTOR["objective"])
    start = initial_extras(objective, 2, 0)
    extras = whole.state.extras
    assert int(extras.optimizer.steps) == int(whole.state.step) > 0
    for before, after in zip(*map(jax.tree.leaves, (start.weights, extras.weights)), strict=True):
        assert np.any(before != after)
    assert not any("critic" in name or "extras" in name for name in named_arrays(whole.model))


def test_a_saved_state_goes_on_to_the_same_bytes_with_its_critic(whole, tmp_path):
    part = run(Chunks(2, 3), **FACTOR)
    assert part.ended == "interrupted"
    save_arrays(tmp_path / "state.safetensors", part.state)
    names = named_arrays(part.state)
    assert {"extras.weights.head.kernel", "extras.optimizer.first.head.kernel"} <= names.keys()
    state = load_arrays(tmp_path / "state.safetensors", jax.eval_shape(lambda: part.state))
    rest = run(Chunks(2), state=state, **FACTOR)
    assert as_bytes(rest.state) == as_bytes(whole.state)


def test_the_critics_step_is_that_of_adam(whole):
    """The first step of Adam moves each weight by its rate, whatever the gradient."""
    part = run(Chunks(1, 1), **FACTOR)
    start = initial_extras(logvar.objectives.get(FACTOR["objective"]), 2, 0)
    moved = np.abs(part.state.extras.weights.head.kernel - start.weights.head.kernel)
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-2)


def test_a_step_that_is_not_finite_moves_no_critic():
    broken = run(Chunks(1), **FACTOR | {"optimizer": "sgd", "learning_rate": 1e6, "epochs": 20})
    assert broken.ended == "not finite"
    assert int(broken.state.extras.optimizer.steps) == int(broken.state.failed_step) > 0
    assert all(np.isfinite(leaf).all() for leaf in named_arrays(broken.state.extras).values())


def test_runs_without_extras_and_averages_have_no_new_arrays():
    names = named_arrays(run(Chunks(1, 0), epochs=1).state)
    assert not any(name.startswith(("extras", "average")) for name in names)
