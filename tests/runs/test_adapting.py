"""A run that starts from another one's weights: what it takes over, and that it says what fits."""

import dataclasses
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

import logvar
from logvar.storage import run_folder
from logvar.training.state import partition
from tests.cli.in_process import run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32) @ RNG.normal(size=(4, 4)).astype(np.float32)
MORE = 1.5 * X[:80] + 1
QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 3, "batch_size": 40}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    vae = logvar.VAE(**QUICK | {"epochs": 30}, learning_rate=0.01, scale="softplus").fit(X)
    return vae, vae.save(tmp_path_factory.mktemp("runs") / "earlier")


def weights(vae):
    return jax.tree.leaves(partition(vae.model_)[0])


def test_it_starts_from_the_weights_and_reads_rows_alike(earlier):
    before, folder = earlier
    # A rate of almost nothing: the weights after an epoch are those it started from.
    vae = logvar.VAE(from_run=str(folder), epochs=1, learning_rate=1e-30).fit(MORE)
    for ours, theirs in zip(weights(vae), weights(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert vae.recipe_.model == before.recipe_.model
    np.testing.assert_array_equal(vae.transform(X), before.transform(X))
    np.testing.assert_array_equal(vae.fitted_.units.shift, before.fitted_.units.shift)


def test_it_learns_the_new_rows_faster_than_from_nothing(earlier, tmp_path):
    _, folder = earlier
    some, others = X[:40] + 0.1, X[40:] + 0.1
    again = logvar.VAE(from_run=str(folder), epochs=1, batch_size=20).fit(some)
    fresh = logvar.VAE(**QUICK | {"epochs": 1, "batch_size": 20}, scale="softplus").fit(some)
    assert again.score(others) > fresh.score(others) + 0.5
    loaded = logvar.load(again.save(tmp_path / "again"))
    np.testing.assert_array_equal(loaded.score_samples(MORE, 5), again.score_samples(MORE, 5))
    assert loaded.recipe_.training.from_run == str(folder)


def test_rows_beyond_the_earlier_range_are_trained_on_as_they_are(earlier):
    _, folder = earlier
    far = np.concatenate([X[:60], X[:60] + 200])
    vae = logvar.VAE(from_run=str(folder), epochs=1).fit(far)
    assert not len(vae._stored(far)[0].outside)


def test_it_resumes_to_the_same_bytes(earlier, tmp_path):
    _, folder = earlier
    settings = {"from_run": str(folder), "batch_size": 20}
    whole = logvar.VAE(**settings, epochs=4).fit(MORE)
    logvar.VAE(**settings, epochs=2).fit(MORE, checkpoints=logvar.Checkpoints(tmp_path, epochs=1))
    moved = shutil.copytree(folder, tmp_path / "moved")
    vae = logvar.VAE(**settings | {"from_run": str(moved)}, epochs=4)
    vae.fit(MORE, checkpoints=tmp_path, resume=True)
    for ours, theirs in zip(weights(vae), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_resumed_run_needs_the_same_weights_to_start_from(earlier, tmp_path):
    before, _ = earlier
    folder = before.save(tmp_path / "copy")
    settings = {"from_run": str(folder), "batch_size": 20}
    at = logvar.Checkpoints(tmp_path / "checkpoints", epochs=1)
    logvar.VAE(**settings, epochs=1).fit(MORE, checkpoints=at)
    logvar.VAE(**QUICK, scale="softplus", random_state=1).fit(X).save(folder, overwrite=True)
    with pytest.raises(logvar.LogvarError, match="checkpoint of another run .*from_sha256"):
        logvar.VAE(**settings, epochs=2).fit(MORE, checkpoints=at, resume=True)


def test_missing_cells_in_the_new_rows_are_left_out(earlier):
    _, folder = earlier
    holes = MORE.copy()
    holes[::3, 1] = np.nan
    vae = logvar.VAE(from_run=str(folder), epochs=1).fit(holes)
    assert np.isfinite(vae.score(holes)) and np.isfinite(vae.impute(holes, 10)).all()


def test_a_table_keeps_its_schema(tmp_path):
    table = pd.DataFrame({"n": RNG.normal(size=60), "c": RNG.choice(["a", "b", "c"], 60)})
    folder = logvar.VAE(**QUICK).fit(table).save(tmp_path / "table")
    some = table[table.c != "c"][["c", "n"]]
    vae = logvar.VAE(from_run=str(folder), epochs=1).fit(some)
    assert vae.schema_["c"].levels == ("a", "b", "c")
    with pytest.raises(logvar.LogvarError, match="schema was given, and .*table has one already"):
        logvar.VAE(from_run=str(folder), schema={"c": "ignored"}).fit(some)
    for again in (
        {"c": "categorical"},
        {"c": {"kind": "categorical"}},
        vae.schema_,
        folder / "schema.toml",
    ):
        logvar.VAE(from_run=str(folder), schema=again, epochs=1).fit(some)
    for other in ({"c": "categorical", "n": "ordinal"}, {"d": "real"}, 3):
        with pytest.raises(logvar.LogvarError, match="schema was given, and .*which differs"):
            logvar.VAE(from_run=str(folder), schema=other).fit(some)
    strange = some.assign(c="d")
    with pytest.raises(logvar.LogvarError, match="'d'"):
        logvar.VAE(from_run=str(folder), epochs=1).fit(strange)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 3}, "latent_dim is 3, and .* was trained with 2: leave it out"),
        ({"scale": "log-std"}, "scale is 'log-std', and .* with 'softplus'"),
        ({"match": "log-std"}, "match changes how weights start"),
    ],
)
def test_another_model_is_refused(earlier, settings, message):
    with pytest.raises(logvar.LogvarError, match=message):
        logvar.VAE(from_run=str(earlier[1]), **settings).fit(MORE)


def test_rows_of_another_shape_and_no_run_at_all_are_refused(earlier, tmp_path):
    with pytest.raises(logvar.LogvarError, match=r"examples of shape \(3,\), and .* on \(4,\)"):
        logvar.VAE(from_run=str(earlier[1])).fit(MORE[:, :3])
    with pytest.raises(
        logvar.LogvarError, match="^from_run .--from., the run to start from: .*nowhere"
    ):
        logvar.VAE(from_run=str(tmp_path / "nowhere")).fit(MORE)


def test_a_model_of_the_user_s_own_settings_stays_what_it_is(earlier):
    """What is asked for may be said again."""
    vae = logvar.VAE(from_run=str(earlier[1]), latent_dim=2, scale="softplus", epochs=1)
    assert vae.fit(MORE).recipe_.model == earlier[0].recipe_.model
    assert dataclasses.asdict(vae.recipe_.training)["epochs"] == 1


def test_a_detector_starts_from_a_run_whose_number_of_latents_is_not_its_own_default(earlier):
    """The folder is given as `save` returns it."""
    before, folder = earlier
    settings = {"from_run": folder, "epochs": 1, "steps": 0, "n_samples": 5}
    detector = logvar.OutlierVAE(**settings).fit(MORE)
    assert detector.recipe_.model == before.recipe_.model
    assert detector.recipe_.training.from_run == str(folder)
    assert detector.get_params()["from_run"] == folder
    with pytest.raises(logvar.errors.LogvarError, match="latent_dim is 3, and .* trained with 2"):
        logvar.OutlierVAE(latent_dim=3, **settings).fit(MORE)


@pytest.mark.parametrize("flag", ["--overwrite", "--resume", "--no-resume"])
def test_a_run_does_not_replace_the_one_that_it_starts_from(earlier, tmp_path, flag):
    before, _ = earlier
    folder = before.save(tmp_path / "run")
    np.save(tmp_path / "more.npy", MORE)
    arguments = ["--epochs", "1", "--importance-samples", "1", "--out", f"{tmp_path}/./run", flag]
    done = run(["fit", str(tmp_path / "more.npy"), "--from", str(folder), *arguments])
    assert done.code == 2 and done.errors.count("\n") == 1
    assert "--from and --out are both" in done.errors
    assert run_folder.read_manifest(folder).epochs_run == 30
