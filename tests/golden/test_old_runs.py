"""A run that logvar 0.1 wrote, when standardization was part of the model and in float32."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.runs.loading import load_state

HERE = Path(__file__).parent
X = load_iris().data[::10]
VALUES = dict(np.load(HERE / "run_0_1_values.npz"))
USES = {
    "transform": lambda vae: vae.transform(X),
    "elbo": lambda vae: vae.elbo(X),
    "score_samples": lambda vae: vae.score_samples(X, 20),
    "reconstruct": lambda vae: vae.reconstruct(X),
    "sample": lambda vae: vae.sample(10),
}


@pytest.mark.parametrize("use", USES)
def test_it_gives_what_it_gave_then(use):
    """VAE(latent_dim=2, hidden=(6,), epochs=12, learning_rate=0.02, batch_size=32,
    random_state=3).fit(iris); the values are those of the version that wrote it."""
    got = USES[use](logvar.load(HERE / "run_0_1"))
    np.testing.assert_allclose(got, VALUES[use], rtol=2e-6, atol=2e-5)


def test_it_is_saved_as_runs_are_now_and_its_training_can_go_on(tmp_path):
    vae = logvar.load(HERE / "run_0_1")
    state = load_state(vae.fitted_, HERE / "run_0_1")
    assert int(state.step) == 60
    again = logvar.load(vae.save(tmp_path / "now"))
    for use in USES.values():
        np.testing.assert_array_equal(use(again), use(vae))


def test_its_scores_far_out_are_finite_and_fall():
    """It does not say how far its training rows reached: no further than √n standard deviations."""
    vae = logvar.load(HERE / "run_0_1")
    rows = vae.fitted_.units.shift + 10.0 ** np.arange(1, 31)[:, None]
    with pytest.warns(logvar.errors.OutsideTrainingRange):
        scores = vae.score_samples(rows, 5)
    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all()
