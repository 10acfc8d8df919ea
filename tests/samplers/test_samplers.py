"""Samplers after training: fitted to posterior draws, kept in a run, and drawn from."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import logvar
from logvar import samplers
from logvar.cli.main import main
from logvar.evaluation.aggregate import maximum_mean_discrepancy
from logvar.evaluation.coding import draw_posterior
from logvar.report.page import write_report
from logvar.samplers.mixture import FittedMixture

RNG = np.random.default_rng(0)
CENTRES = np.array([[3.0, 0.0, 1.0], [-3.0, 1.0, 0.0]])
X = CENTRES[RNG.integers(2, size=400)] + 0.3 * RNG.normal(size=(400, 3))


@pytest.fixture(scope="module")
def vae():
    settings = {"network": "mlp(hidden=[16])", "learning_rate": 1e-2, "random_state": 0}
    found = logvar.VAE(2, epochs=40, objective="elbo(beta=0.3)", **settings).fit(X)
    found.fit_sampler(X, "mixture(components=3)")
    return found.fit_sampler(X, "two-stage(epochs=60, hidden=[32])")


def test_it_is_fitted_to_draws_from_the_posterior(vae):
    rows, preparation = vae._stored(X)
    z = draw_posterior(vae.model_, rows, preparation, 0)
    mixture = vae.samplers_["mixture"][1]
    # EM keeps the mean of the data.
    np.testing.assert_allclose(mixture.weights @ mixture.means, z.mean(0), atol=1e-4)
    q = vae.posterior(X)
    noise = (z - np.asarray(q.mean)) / np.asarray(q.sigma)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3


def test_each_draws_like_the_latents_rather_than_the_prior(vae):
    z = CENTRES[RNG.integers(2, size=400), :2] + 0.3 * RNG.normal(size=(400, 2))
    prior = maximum_mean_discrepancy(z, RNG.normal(size=z.shape))
    for name, (text, _) in vae.samplers_.items():
        sampler = samplers.get(text).fit(z, 0, logvar.VAE)
        drawn = sampler.draw(len(z), 5)
        assert drawn.dtype == np.float32 and drawn.shape == z.shape
        found = maximum_mean_discrepancy(z, drawn)
        assert found.value < prior.value / 3, name
        # A longer sequence begins alike, and another seed is another.
        np.testing.assert_array_equal(sampler.draw(40, 5), drawn[:40])
        assert not np.array_equal(sampler.draw(40, 6), drawn[:40])


def test_samples_come_from_the_latents_of_the_sampler(vae):
    from_prior = vae.sample(50, random_state=3)
    for name in vae.samplers_:
        means = vae.sample(50, mean=True, sampler=name, random_state=3)
        z = vae.samplers_[name][1].draw(50, 3)
        np.testing.assert_allclose(means, vae.inverse_transform(z), atol=1e-5)
        drawn = vae.sample(50, sampler=name, random_state=3)
        # The noise on top of the mean is that of a sample from the prior.
        noise = from_prior - vae.sample(50, mean=True, random_state=3)
        np.testing.assert_allclose(drawn - means, noise, atol=1e-4)


def test_the_mixture_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(300, 2)) @ [[1.0, 0.5], [0.0, 0.3]] + [2.0, 0.0]
    fitted = samplers.get("mixture(components=1)").fit(z, 0, None)
    theirs = GaussianMixture(1, random_state=0).fit(z)
    drawn = fitted.draw(40_000, 0)
    np.testing.assert_allclose(drawn.mean(0), theirs.means_[0], atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), theirs.covariances_[0], atol=0.02)
    two = FittedMixture(np.array([0.2, 0.8]), np.array([[0.0], [9.0]]), np.full((2, 1, 1), 0.1))
    assert (two.draw(20_000, 0) > 4).mean() == pytest.approx(0.8, abs=0.01)


def test_they_are_saved_and_loaded(vae, tmp_path):
    vae.save(tmp_path / "run")
    loaded = logvar.load(tmp_path / "run")
    assert [text for text, _ in loaded.samplers_.values()] == [
        "mixture(components=3)",
        "two-stage(epochs=60, hidden=[32])",
    ]
    for name in vae.samplers_:
        np.testing.assert_array_equal(
            loaded.sample(20, sampler=name), vae.sample(20, sampler=name), name
        )
    assert not list((tmp_path / "run").rglob("*.pkl"))
    arrays = tmp_path / "run/samplers/mixture/mixture.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(logvar.LogvarError, match="its hash differs"):
        logvar.load(tmp_path / "run")
    marker = arrays.with_name("sampler.json")
    marker.write_text(json.dumps({"sampler": "two-stage"}))
    with pytest.raises(logvar.LogvarError, match="does not describe sampler 'mixture'"):
        logvar.load(tmp_path / "run")


def test_the_command_fits_one_and_keeps_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    small = logvar.VAE(2, epochs=1, network="mlp(hidden=[16])")
    small.fit(X, source=str(tmp_path / "x.npy")).save("run")

    def call(out):
        command = ["sample", "run", "--n", "5", "--from", "mixture(components=2)", "--out", out]
        monkeypatch.setattr("sys.argv", ["logvar", *command])
        main()

    call("one.npy")
    assert "fitted mixture(components=2) to" in capsys.readouterr().out
    call("two.npy")
    assert "fitted" not in capsys.readouterr().out
    np.testing.assert_array_equal(np.load("one.npy"), np.load("two.npy"))
    assert logvar.load("run").samplers_["mixture"][0] == "mixture(components=2)"


@pytest.mark.slow
def test_the_report_shows_them_beside_the_prior(tmp_path):
    images = RNG.uniform(size=(30, 4, 4, 1)).astype(np.float32)
    small = logvar.VAE(2, epochs=1, network="mlp(hidden=[16])").fit(images)
    small.fit_sampler(images, "mixture(components=2)")
    page = write_report(tmp_path / "report.html", small, small.evaluate(images), images, None)
    text = page.read_text()
    assert text.index("z drawn from the prior") < text.index("z drawn from mixture(components=2)")


def test_what_does_not_fit_is_one_line(vae):
    for call, message in (
        (lambda: vae.sample(1, sampler="flow"), "'flow' is not fitted .fitted: mixture"),
        (lambda: vae.sample(1, sampler="mixture(components=9)"), "components=9.' is not fitted"),
        (lambda: vae.fit_sampler(X, "mixtur"), "mixture"),
        (lambda: vae.fit_sampler(X[:5], "mixture(components=6)"), "got 5 rows"),
    ):
        with pytest.raises(logvar.LogvarError, match=message):
            call()
    assert not logvar.VAE(2, epochs=1, network="mlp(hidden=[16])").fit(X).samplers_
