"""Rescue and the doctor: what goes back and on, and what is found in runs with planted faults."""

import copy
import dataclasses

import equinox as eqx
import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.runs.doctor import ending, health
from logvar.runs.resuming import Checkpoints
from tests.training.test_training import DIGITS

X = load_iris().data
EXPLODES = {"scale": "log-std", "learning_rate": 0.3, "epochs": 6, "patience": 0, "latent_dim": 4}


def test_a_rescued_run_goes_on_from_its_best_weights_and_is_recorded(tmp_path):
    told = []
    vae = logvar.VAE(**EXPLODES, on_divergence="rescue").fit(DIGITS.train, announce=told.append)
    assert vae.ended_ == "finished" and len(vae.rescues_) >= 1
    assert vae.history_[-1]["rescues"] == len(vae.rescues_)
    assert np.isfinite(vae.elbo(DIGITS.test)).all()
    assert any(line.startswith("rescued: step") for line in told)
    path = vae.save(tmp_path / "run")
    found = ending(path)
    assert [f.what for f in found] == ["ending"] + ["rescued"] * len(vae.rescues_)
    with pytest.raises(logvar.LogvarError, match="Likely cause"):
        logvar.VAE(**EXPLODES).fit(DIGITS.train)


RUNS_AWAY = {
    "scale": "log-variance",
    "learning_rate": 1.0,
    "optimizer": "sgd",
    "epochs": 4,
    "patience": 0,
}


def test_a_rescue_gives_a_scale_that_ran_away_bounds_without_changing_the_model(tmp_path):
    settings = RUNS_AWAY | {"on_divergence": "rescue"}
    whole = logvar.VAE(**settings).fit(DIGITS.train)
    assert "raw outputs beyond" in whole.rescues_[0].cause
    described = logvar.scales.describe(whole.model_.scale)
    assert described == "clamped(log-variance, low=-15.0, high=10.0, straight_through=True)"
    assert whole.recipe_.model.scale == "log-variance"
    # Between its bounds the scale is the same to the bit.
    raw = np.linspace(-29, 19, 1001, dtype=np.float32)
    plain = logvar.scales.get("log-variance")
    np.testing.assert_array_equal(whole.model_.scale.sigma(raw), plain.sigma(raw))
    # The run folder, and a resumed run, know it.
    again = logvar.load(whole.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.transform(DIGITS.test), whole.transform(DIGITS.test))
    np.testing.assert_array_equal(again.score(DIGITS.test), whole.score(DIGITS.test))
    assert logvar.scales.describe(again.model_.scale) == described
    kept = Checkpoints(tmp_path / "kept", seconds=0)
    logvar.VAE(**(settings | {"epochs": 2})).fit(DIGITS.train, checkpoints=kept)
    rest = logvar.VAE(**settings).fit(DIGITS.train, checkpoints=kept, resume=True)
    assert rest.history_ == whole.history_
    assert logvar.scales.describe(rest.model_.scale) == described


def test_rescues_are_bounded():
    hopeless = EXPLODES | {"learning_rate": 1e9, "optimizer": "sgd", "epochs": 20}
    vae = logvar.VAE(**hopeless, on_divergence="rescue")
    with pytest.raises(logvar.LogvarError, match="Likely cause"):
        vae.fit(DIGITS.train[:300])
    assert len(vae.rescues_) == 3


def test_a_rescued_run_resumes_to_the_same_bytes(tmp_path):
    settings = EXPLODES | {"on_divergence": "rescue"}
    whole = logvar.VAE(**settings).fit(DIGITS.train)
    kept = Checkpoints(tmp_path, seconds=0)
    logvar.VAE(**(settings | {"epochs": 2})).fit(DIGITS.train, checkpoints=kept)
    rest = logvar.VAE(**settings).fit(DIGITS.train, checkpoints=kept, resume=True)
    assert rest.history_ == whole.history_


def test_on_divergence_is_checked():
    with pytest.raises(logvar.LogvarError, match="did you mean 'rescue'"):
        logvar.VAE(on_divergence="rescu").fit(X)


@pytest.fixture(scope="module")
def healthy():
    return logvar.VAE(latent_dim=2, epochs=60, learning_rate=5e-3).fit(X)


def examined(tmp_path, vae, rows=X, change=None):
    path = (with_change(vae, change) if change else vae).save(tmp_path / "run")
    return {finding.what: finding for finding in health(logvar.load(path).fitted_, rows)}


def with_change(vae, change):
    """An estimator like this one, with its model changed."""
    vae = copy.copy(vae)
    vae.fitted_ = dataclasses.replace(vae.fitted_, model=change(vae.model_))
    return vae


def fitted(rows=X, **settings):
    return logvar.VAE(**({"latent_dim": 2, "epochs": 3} | settings)).fit(rows)


def test_a_healthy_run_has_no_findings(tmp_path, healthy):
    found = examined(tmp_path, healthy)
    assert all(finding.fine for finding in found.values()), [str(f) for f in found.values()]


def head(change):
    def changed(model):
        kernel, bias = model.encoder.head.kernel, model.encoder.head.bias
        where = lambda m: (m.encoder.head.kernel, m.encoder.head.bias)  # noqa: E731
        return eqx.tree_at(where, model, change(kernel, bias))

    return changed


def test_planted_faults_are_found(tmp_path, healthy):
    collapsed = head(lambda kernel, bias: (0 * kernel, 0 * bias))
    found = examined(tmp_path / "collapsed", healthy, change=collapsed)
    assert not found["posterior collapse"].fine and "none of 2" in found["posterior collapse"].text

    def without_first(kernel, bias):
        return kernel.at[:, 0].set(0).at[:, 2].set(0), bias.at[0].set(0).at[2].set(0)

    found = examined(tmp_path / "dead", healthy, change=head(without_first))
    assert "1 of 2 active" in found["latents"].text and "1 unused (0)" in found["latents"].text
    assert "latent_dim=1 would do" in found["latents"].text
    assert all(finding.fine for finding in found.values())  # so that the exit code is 0

    far = head(lambda kernel, bias: (kernel, bias.at[2:].set(-100.0)))
    found = examined(tmp_path / "far", healthy, change=far)
    assert "outside" in found["raw outputs"].text and not found["raw outputs"].fine

    clipped = fitted(scale="clamped(log-variance, low=-2, high=2, hard=True)")
    found = examined(tmp_path / "clipped", clipped, change=far)
    assert "100.0% of raw outputs" in found["saturation"].text
    assert "hard=True" in found["saturation"].text

    inert = fitted(scale="floored(log-std, minimum=1e-6)")
    assert "it does nothing" in examined(tmp_path / "inert", inert)["floor"].text
    reached = fitted(scale="floored(log-std, minimum=0.1)")
    assert not examined(tmp_path / "reached", reached, change=far)["floor"].fine

    for optimizer, step in (("adam", 0.002), ("sgd", 0.001)):  # as log-variance, whose slope is ½
        matched = fitted(
            scale="log-std", match="log-variance", optimizer=optimizer, learning_rate=0.004
        )
        text = examined(tmp_path / optimizer, matched)["step in log σ"].text
        assert f"moves log σ by about {step:g}" in text

    fast = fitted(scale="softplus", learning_rate=0.2, epochs=2)
    assert "lower learning_rate" in examined(tmp_path / "fast", fast)["step in log σ"].text


@pytest.mark.parametrize(("variance", "active"), [(0.02, 2), (0.008, 1)])
def test_the_doctor_counts_latents_as_evaluate_does(tmp_path, healthy, variance, active):
    """A latent whose mean varies little: at 0.02 its KL is 0.01 nats, and it is active."""
    codes = healthy.transform(X)[:, 0]
    factor = variance**0.5 / codes.std()

    def faint(kernel, bias):
        centred = (bias[0] - codes.mean()) * factor
        kernel, bias = kernel.at[:, 0].multiply(factor), bias.at[0].set(centred)
        return kernel.at[:, 2].set(0), bias.at[2].set(0)

    vae = with_change(healthy, head(faint))
    evaluation = vae.evaluate(X, n_importance=1)
    assert (evaluation.active_units, evaluation.kl_per_latent[0] < 0.05) == (active, True)
    assert f"{active} of 2 active" in examined(tmp_path, vae)["latents"].text


def test_a_decoder_at_its_floor_is_found(tmp_path):
    rows = np.column_stack([X, np.zeros(len(X))])
    vae = fitted(
        rows,
        likelihood="normal(noise=per-feature, floor=0.5)",
        epochs=300,
        learning_rate=0.02,
        patience=0,
    )
    found = examined(tmp_path, vae, rows)["observation noise"]
    assert not found.fine and "at the floor" in found.text


def test_the_doctor_reads_runs_that_are_dead_or_never_were(tmp_path):
    from logvar.storage.files import unfinished

    run = tmp_path / "run"
    kept = Checkpoints(unfinished(run) / "checkpoints", seconds=0)
    logvar.VAE(latent_dim=2, epochs=2).fit(X, checkpoints=kept)
    (only,) = ending(run)
    assert "has not ended" in only.text and "--resume to continue" in only.text
    newest = max(kept.folder.iterdir())
    (newest / "state.safetensors").write_bytes(b"half")
    assert any("skipped" in finding.text for finding in ending(run))
    with pytest.raises(logvar.LogvarError, match="is not a folder"):
        ending(tmp_path / "nowhere")


def test_a_diverged_runs_folder_keeps_its_diagnosis(tmp_path):
    vae = logvar.VAE(**EXPLODES)
    with pytest.raises(logvar.LogvarError):
        vae.fit(DIGITS.train)
    (only,) = ending(vae.save(tmp_path / "run"))
    assert not only.fine and "not finite" in only.text and "Remedy:" in only.text
