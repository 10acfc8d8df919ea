"""A critic and averaged weights through files: resumed, saved, loaded, converted."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.runs.converting import convert
from logvar.runs.resuming import Checkpoints
from tests.training.test_training import as_bytes

X = load_iris().data.astype(np.float32)
SETTINGS = {
    "latent_dim": 2,
    "network": "mlp(hidden=[8])",
    "objective": "factor(hidden=[8])",
    "average_weights": 0.9,
    "scale": "log-std",
}


@pytest.fixture(scope="module")
def whole():
    return logvar.VAE(**SETTINGS, epochs=3).fit(X)


def test_a_run_resumes_to_the_same_bytes_and_loads_again(whole, tmp_path):
    kept = Checkpoints(tmp_path / "run" / "checkpoints", seconds=0)
    logvar.VAE(**SETTINGS, epochs=2).fit(X, checkpoints=kept)
    rest = logvar.VAE(**SETTINGS, epochs=3).fit(X, checkpoints=kept, resume=True)
    assert as_bytes(rest.fitted_.state) == as_bytes(whole.fitted_.state)
    assert rest.history_ == whole.history_
    again = logvar.load(rest.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again.transform(X), whole.transform(X))
    assert again.recipe_.training.average_weights == 0.9


def test_another_critic_is_another_run(tmp_path):
    kept = Checkpoints(tmp_path, seconds=0)
    logvar.VAE(**SETTINGS, epochs=1).fit(X, checkpoints=kept)
    other = SETTINGS | {"average_weights": 0.0}
    with pytest.raises(logvar.LogvarError, match="average_weights was 0.9, is 0.0"):
        logvar.VAE(**other, epochs=2).fit(X, checkpoints=kept, resume=True)


def test_a_conversion_moves_the_average_with_the_weights(whole):
    """log-std to log-variance doubles raw outputs, exactly."""
    converted, _ = convert(whole, "log-variance", X)
    before, after = whole.fitted_.state, converted.fitted_.state
    for then, now in ((before.average, after.average), (before.params, after.params)):
        doubled = then.encoder.head.bias * np.array([1, 1, 2, 2], np.float32)
        np.testing.assert_array_equal(doubled, now.encoder.head.bias)
    assert as_bytes(before.extras) == as_bytes(after.extras)
