"""Samplers after training: fitted to posterior draws, kept in a run, and drawn from."""

import json
import types

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import logvar
from logvar import samplers
from logvar.assembly import skeleton
from logvar.assembly.decisions import Decisions
from logvar.catalogue.parts import lines_of, summary
from logvar.cli.main import main
from logvar.evaluation.aggregate import maximum_mean_discrepancy
from logvar.evaluation.coding import draw_posterior
from logvar.recipe import Recipe
from logvar.report.page import write_report
from logvar.samplers import flow
from logvar.samplers.mixture import FittedMixture

RNG = np.random.default_rng(0)
CENTRES = np.array([[3.0, 0.0, 1.0], [-3.0, 1.0, 0.0]])
X = CENTRES[RNG.integers(2, size=400)] + 0.3 * RNG.normal(size=(400, 3))


@pytest.fixture(scope="module")
def vae():
    settings = {"network": "mlp(hidden=[16])", "learning_rate": 1e-2, "random_state": 0}
    found = logvar.VAE(2, epochs=40, objective="elbo(beta=0.3)", **settings).fit(X)
    found.fit_sampler(X, "mixture(components=3)")
    found.fit_sampler(X, "flow(layers=2, width=8, epochs=60)")
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
        "flow(layers=2, width=8, epochs=60)",
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
    marker.write_text(json.dumps({"sampler": "two-stage", "hashes": {}}))
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


def test_a_setting_may_be_said_though_it_is_the_default(vae):
    again = logvar.VAE.of(vae.fitted_).fit_sampler(X, "mixture(components=10)")
    drawn = again.sample(3, sampler="mixture")
    np.testing.assert_array_equal(again.sample(3, sampler="mixture(components=10)"), drawn)
    with pytest.raises(logvar.LogvarError, match="'mixture.components=3.' is not fitted"):
        again.sample(3, sampler="mixture(components=3)")
    with pytest.raises(logvar.LogvarError, match="'mixture.components=10.' is not fitted"):
        vae.sample(3, sampler="mixture(components=10)")


class Everywhere(samplers.Sampler):
    """A user's own: z is one number everywhere."""

    at: float = 0.0

    def fit(self, latents, seed, estimator):
        return Fitted(self.at)

    def read(self, folder, latent_dim, load):
        return Fitted(float((folder / "at.txt").read_text()))


class Fitted(samplers.FittedSampler):
    def __init__(self, at):
        self.at = at

    def drawing(self, seed):
        return lambda n: np.full((n, 2), self.at, np.float32)

    def write(self, folder):
        (folder / "at.txt").write_text(str(self.at))


def test_one_of_the_users_own_is_kept_and_asked_for_by_its_object(vae, tmp_path):
    own = logvar.VAE.of(vae.fitted_).fit_sampler(X, Everywhere(1.5))
    drawn = own.sample(2, sampler=Everywhere(1.5), mean=True)
    np.testing.assert_array_equal(drawn, own.sample(2, sampler="Everywhere", mean=True))
    with pytest.raises(logvar.LogvarError, match="is not fitted .fitted: Everywhere.at=1.5"):
        own.sample(2, sampler=samplers.get("mixture"))
    path = own.save(tmp_path / "run")
    with pytest.raises(logvar.LogvarError, match=r"logvar.load\(path, parts=\[Everywhere\]"):
        logvar.load(path)
    again = logvar.load(path, parts=[Everywhere])
    np.testing.assert_array_equal(again.sample(2, sampler="Everywhere", mean=True), drawn)


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
        (lambda: vae.sample(1, sampler="flow(layers=3)"), "'flow.layers=3.' is not fitted"),
        (lambda: vae.sample(1, sampler="mixture(components=9)"), "components=9.' is not fitted"),
        (lambda: vae.fit_sampler(X, "mixtur"), "mixture"),
        (lambda: vae.sample(1, sampler="mixtur"), "did you mean 'mixture'"),
        (lambda: vae.fit_sampler(X[:5], "mixture(components=6)"), "got 5 rows"),
        (lambda: vae.fit_sampler(X[:1], "flow"), "got 1 rows: expected at least 2"),
    ):
        with pytest.raises(logvar.LogvarError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)
    assert not logvar.VAE(2, epochs=1, network="mlp(hidden=[16])").fit(X).samplers_


def test_a_flow_has_a_density_and_draws_from_it():
    rng = np.random.default_rng(2)
    z = np.concatenate([rng.normal(-2, 0.5, (150, 1)), rng.normal(3, 1, (150, 1))])
    z = np.hstack([z, 5 + 0.1 * z**2 + 0.3 * rng.normal(size=z.shape)])
    fitted = samplers.get("flow(layers=2, width=8, epochs=150)").fit(z, 0, None)
    sides = np.linspace(-7, 9, 161), np.linspace(2, 16, 141)
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(fitted.log_prob(grid)) * 0.01
    assert density.sum() == pytest.approx(1, abs=0.02)
    drawn = fitted.draw(4000, 0)
    np.testing.assert_allclose(drawn.mean(0), density @ grid, atol=0.15)
    inside = (grid[:, 0] < 0) & (grid[:, 1] > 5)
    share = ((drawn[:, 0] < 0) & (drawn[:, 1] > 5)).mean()
    assert share == pytest.approx(density[inside].sum(), abs=0.03)
    # It has learned more than a Normal of the same mean and covariance.
    normal = stats.multivariate_normal(z.mean(0), np.cov(z.T)).logpdf(z)
    assert fitted.log_prob(z).mean() > normal.mean() + 0.05


def test_a_flow_that_is_not_finite_says_so():
    z = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    z[0] = np.nan
    with pytest.raises(logvar.LogvarError, match="NaN or infinite in epoch 1: give another scale"):
        flow._fitted(samplers.get("flow(layers=2, width=8)"), z[:270], z[270:], 0)


def test_a_file_of_another_flow_is_refused(vae, tmp_path):
    text, flow = vae.samplers_["flow"]
    flow.write(tmp_path)
    again = samplers.get(text).read(tmp_path, 2, None)
    np.testing.assert_array_equal(again.draw(9, 0), flow.draw(9, 0))
    np.testing.assert_array_equal(again.log_prob(X[:9, :2]), flow.log_prob(X[:9, :2]))
    with pytest.raises(logvar.LogvarError, match="latents has shape .2, 8, 2., expected .3, 8, 2."):
        samplers.get("flow(layers=3, width=8)").read(tmp_path, 2, None)


@pytest.mark.parametrize(
    ("settings", "beside", "said"),
    [
        (
            {"posterior": "power-spherical", "prior": "uniform-sphere"},
            {},
            "lies on 'sphere': sample from the prior",
        ),
        ({}, {"condition_size": 1}, "do not know the condition"),
        ({"objective": "labelled"}, {"classes": 2}, "decodes it with a label"),
    ],
    ids=["sphere", "condition", "label"],
)
def test_models_that_need_more_than_real_latents_are_refused(settings, beside, said):
    recipe = Recipe().replace(latent_dim=2, **settings)
    decisions = Decisions("normal", "mlp(hidden=[4])", 1.0, ())
    estimator = logvar.VAE(2)
    estimator.fitted_ = types.SimpleNamespace(model=skeleton(recipe, decisions, (3,), **beside))
    for name in samplers.names():
        with pytest.raises(logvar.LogvarError, match=said) as raised:
            estimator.fit_sampler(X, name)
        assert "\n" not in str(raised.value)


def test_the_catalogue_lists_them():
    lines = "\n".join(lines_of("samplers", "flow"))
    assert "vae.fit_sampler(X, …)" in lines and "logvar sample RUN --from" in lines
    assert next(text for text, _, _ in summary("samplers")) == "mixture(components=10)"
