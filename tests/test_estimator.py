"""The estimator as scikit-learn's users meet it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import logvar
from logvar.recipe import Recipe
from tests.cases import some

X = load_iris().data
QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 4}


@pytest.fixture(scope="module")
def fitted():
    return logvar.VAE(**QUICK).fit(X)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scikit_learns_own_checks():
    # Rows given twice see other noise than a row of weight two, as in scikit-learn's own
    # estimators that train by stochastic gradients.
    stochastic = {"check_sample_weight_equivalence_on_dense_data": "noise and order differ"}
    # The checks' data have many widths, of which each is compiled: the smallest programs, and one
    # likelihood, where "auto" would take two.
    small = {"latent_dim": 2, "network": "mlp(hidden=[])", "epochs": 1, "validation_fraction": 0}
    results = check_estimator(
        logvar.VAE(**small, likelihood="normal"),
        on_skip=None,
        on_fail="raise",
        expected_failed_checks=stochastic,
    )
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == stochastic.keys()
    assert sum(result["status"] == "passed" for result in results) > 40


def test_arguments_are_the_recipes_settings():
    arguments = logvar.VAE().get_params()
    for name in ("encoder", "decoder", "schema"):
        assert arguments.pop(name) is None
    assert arguments == Recipe.settings()


def test_works_in_a_pipeline_with_names(fitted):
    pipeline = make_pipeline(StandardScaler(), clone(fitted)).set_output(transform="pandas")
    frame = pipeline.fit_transform(X)
    assert list(frame.columns) == ["vae0", "vae1"]
    assert frame.dtypes.iloc[0] == np.float32


def test_grid_search_over_beta_compares_at_beta_one():
    search = GridSearchCV(
        logvar.VAE(**QUICK), {"objective": ["elbo(beta=0.1)", "elbo(beta=30)"]}, cv=2
    ).fit(X)
    best = search.best_estimator_
    assert search.best_score_ < 0
    assert best.score(X) == pytest.approx(best.elbo(X, analytic_kl=True).mean(), rel=1e-6)


def test_two_fits_of_one_recipe_give_identical_weights(fitted, tmp_path):
    again = clone(fitted).fit(X)
    first, second = fitted.save(tmp_path / "a"), again.save(tmp_path / "b")
    for name in ("weights.safetensors", "metrics.jsonl", "recipe.toml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_scores_depend_on_the_row_alone(fitted):
    order = np.random.default_rng(0).permutation(len(X))
    for score in (fitted.elbo, fitted.score_samples):
        all_rows = score(X)
        np.testing.assert_array_equal(score(X[order]), all_rows[order])
        np.testing.assert_array_equal(score(X[7:9]), all_rows[7:9])


def test_more_importance_samples_tighten_the_bound(fitted):
    one, many = (fitted.score_samples(X, n_samples=n).mean() for n in (1, 300))
    assert many > one
    assert one == pytest.approx(fitted.elbo(X).mean(), abs=0.5)


def test_elbo_with_given_noise_is_the_formula(fitted):
    """log p(x | z) + log p(z) − log q(z | x), from NumPy and the model's own parts."""
    eps = np.random.default_rng(0).standard_normal((len(X), 2)).astype(np.float32)
    q = fitted.posterior(X)
    mean, sigma = np.asarray(q.mean, float), np.exp(np.asarray(q.raw, float) / 2)
    z = mean + sigma * eps
    likelihood = fitted.model_.likelihood
    # σ is standardized; the density is of x in its own units.
    noise = np.asarray(likelihood.sigma(jnp.zeros(4)), float)
    noise = noise * fitted.fitted_.units.factor
    decoded = np.asarray(fitted.inverse_transform(z), float)
    log_p = -0.5 * ((X - decoded) / noise) ** 2 - np.log(noise) - 0.5 * np.log(2 * np.pi)
    log_prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    log_q = -0.5 * eps**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    expected = log_p.sum(1) + log_prior.sum(1) - log_q.sum(1)
    np.testing.assert_allclose(fitted.elbo(X, eps=eps), expected, rtol=2e-4, atol=2e-3)


def test_densities_are_in_the_datas_own_units():
    """Measured in millimetres instead of centimetres, each density falls by log 10."""
    # Ten times these numbers are integers, which "auto" models otherwise.
    a, b = (logvar.VAE(**QUICK, likelihood="normal").fit(unit * X) for unit in (1, 10))
    eps = np.zeros((len(X), 2))
    fall = a.elbo(X, eps=eps).mean() - b.elbo(10 * X, eps=eps).mean()
    assert fall == pytest.approx(4 * np.log(10), abs=1e-3)


def test_reconstruct_sample_and_back(fitted):
    assert fitted.reconstruct(X).shape == X.shape
    drawn = fitted.sample(20)
    assert drawn.shape == (20, 4) and drawn.dtype == np.float32
    np.testing.assert_array_equal(fitted.sample(7), drawn[:7])
    assert (fitted.sample(7, mean=True) != drawn[:7]).any()
    assert (fitted.sample(7, random_state=1) != drawn[:7]).any()


def test_fixed_noise_stays_and_learned_noise_moves():
    for noise, moved in (("fixed", False), ("shared", True)):
        vae = logvar.VAE(**QUICK, likelihood=f"normal(noise={noise}, sigma=0.5)").fit(X)
        held = vae.model_.likelihood.noise
        sigma = float(held.scale.sigma(held.raw))
        assert (abs(sigma - 0.5) > 1e-4) == moved


@pytest.mark.parametrize("n_samples", [0, -1])
def test_no_draws_are_refused(fitted, n_samples):
    for use in (
        lambda: fitted.elbo(X, n_samples=n_samples),
        lambda: fitted.elbo(X, np.zeros((len(X), 2)), n_samples=n_samples),
        lambda: fitted.score_samples(X, n_samples),
        lambda: fitted.sample(n_samples),
    ):
        with pytest.raises(logvar.LogvarError, match="n_samples is .*: expected an integer"):
            use()


@pytest.mark.parametrize("objective", ["iwae(samples=5)", "elbo(free_bits=0.5)",
                                       "elbo(beta=4, warmup=2)", "elbo(analytic_kl=false)"])  # fmt: skip
def test_objectives_train(objective):
    vae = logvar.VAE(**(QUICK | {"epochs": 20}), learning_rate=0.02, objective=objective).fit(X)
    assert np.isfinite(vae.score(X))
    first, last = vae.history_[0], vae.history_[-1]
    if objective.startswith("iwae"):  # its bound rises, and the ELBO may fall
        assert last["loss"] < first["loss"]
    else:
        assert last["train"]["elbo"] > first["train"]["elbo"]


@pytest.mark.parametrize(
    "scale",
    some(
        [name for name, entry in logvar.scales.REGISTRY.items() if not entry.wraps],
        quick=["softplus", "stdplus", "nvae"],
    ),
)
def test_every_scale_trains(scale):
    vae = logvar.VAE(**QUICK, scale=scale).fit(X)
    assert np.isfinite(vae.score(X))


@pytest.mark.parametrize("network", ["conv", "tutorial"])
def test_images(network):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    vae = logvar.VAE(2, network=network, epochs=1, batch_size=16).fit(pixels)
    assert vae.decisions_.likelihood == "bernoulli"
    assert vae.reconstruct(pixels).shape == (40, 28, 28)
    assert vae.transform(pixels.reshape(40, -1)).shape == (40, 2)


class Encoder(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, x):
        return self.mlp(x)


class Decoder(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, z):
        return self.mlp(z)


def own_networks():
    a, b = jax.random.split(jax.random.key(0))
    return Encoder(eqx.nn.MLP(4, 6, 16, 1, key=a)), Decoder(eqx.nn.MLP(3, 4, 16, 1, key=b))


def test_ones_own_networks(tmp_path):
    encoder, decoder = own_networks()
    vae = logvar.VAE(encoder=encoder, decoder=decoder, epochs=3).fit(X)
    assert vae.transform(X).shape == (150, 3)
    path = vae.save(tmp_path / "own")
    with pytest.raises(logvar.LogvarError, match=r"Encoder, Decoder.*encoder=…"):
        logvar.load(path)
    again = logvar.load(path, encoder=encoder, decoder=decoder)
    np.testing.assert_array_equal(again.transform(X), vae.transform(X))


def test_own_networks_of_the_wrong_shape_are_told_what_was_expected():
    encoder, decoder = own_networks()
    with pytest.raises(logvar.LogvarError, match=r"decoder returned \(4,\).*expected one array of"):
        logvar.VAE(encoder=lambda x: x[:2], decoder=lambda z: np.ones(4) * z[0]).fit(X[:, :3])
    with pytest.raises(logvar.LogvarError, match=r"encoder returned one array of shape \(3,\)"):
        logvar.VAE(encoder=lambda x: x[:3], decoder=decoder).fit(X)
    with pytest.raises(logvar.LogvarError, match="give the decoder too"):
        logvar.VAE(encoder=encoder).fit(X)


BAD = {
    "infinity": (lambda: np.where(np.arange(600).reshape(150, 4) == 9, np.inf, X), {},
                 "infinity at row 2, column 1"),
    "text": (lambda: np.array([["a", "b"], ["c", "d"]]), {"likelihood": "normal"},
             "likelihood 'normal' reads numbers, and column 0 is binary"),
    "one example": (lambda: X[:1], {}, "1 sample.*at least 2 rows"),
    "no rows": (lambda: X[:0], {}, "minimum of 1"),
    "Bernoulli": (lambda: X, {"likelihood": "bernoulli"}, r"row 0, column 0.*\[0, 1\]"),
    "scale": (lambda: X, {"scale": "log_std"}, "did you mean 'log-std'"),
    "likelihood": (lambda: X, {"likelihood": "norml"}, "did you mean 'normal'"),
    "network": (lambda: X, {"network": "cnn"}, "unknown network"),
    "image network": (lambda: X, {"network": "conv"}, "expected images"),
    "optimizer": (lambda: X, {"optimizer": "Adam"}, "did you mean 'adam'"),
    "objective": (lambda: X, {"objective": "elbow"}, "did you mean 'elbo'"),
    "binarization": (lambda: X, {"binarization": "treshold"}, "did you mean 'threshold'"),
    "noise": (lambda: X, {"likelihood": "normal(noise=fix)"}, "did you mean 'fixed'"),
    "number": (lambda: X, {"learning_rate": -1.0}, "expected a positive number"),
    "type": (lambda: X, {"epochs": "ten"}, "epochs is 'ten': expected an integer"),
    "seed": (lambda: X, {"random_state": -1}, "expected an integer from 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(case):
    make, settings, message = BAD[case]
    with pytest.raises(logvar.LogvarError, match=message) as caught:
        logvar.VAE(**(QUICK | settings)).fit(make())
    assert "\n" not in str(caught.value)


def test_wrong_number_of_features(fitted):
    with pytest.raises(ValueError, match="X has 3 features, but VAE is expecting 4"):
        fitted.transform(X[:, :3])
    with pytest.raises(logvar.LogvarError, match=r"expected \(rows, 2\)"):
        fitted.inverse_transform(np.zeros((3, 5)))
    with pytest.raises(logvar.LogvarError, match=r"eps has shape \(3, 2\)"):
        fitted.elbo(X, eps=np.zeros((3, 2)))


def test_divergence_is_named_and_keeps_the_weights_from_before():
    vae = logvar.VAE(**(QUICK | {"epochs": 60}), optimizer="sgd", learning_rate=1e5)
    with pytest.raises(
        logvar.LogvarError, match=r"step \d+ \(epoch .*Likely cause: .*Remedy: .*was not taken"
    ):
        vae.fit(X)
    assert np.isfinite(vae.transform(X)).all()


def test_validation_data_is_used_instead_of_a_share():
    vae = logvar.VAE(**QUICK).fit(X[:100], validation_data=X[100:])
    assert vae.data_["rows"] == 100
    assert vae.history_[-1]["validation"]["elbo"] == pytest.approx(vae.score(X[100:]), abs=2.0)


def test_validation_data_in_another_form_is_refused():
    pixels = (X * 10).astype(np.uint8)
    with pytest.raises(logvar.LogvarError, match="validation_data is float64 and X is uint8"):
        logvar.VAE(**QUICK, likelihood="normal").fit(pixels, validation_data=X)
    unit = (X - X.min()) / (X.max() - X.min())
    with pytest.raises(logvar.LogvarError, match=r"expected values in \[0, 1\]"):
        logvar.VAE(**QUICK, likelihood="bernoulli").fit(unit, validation_data=unit + 1)


def test_ctrl_c_keeps_what_was_learned():
    import os
    import signal

    from logvar.training.pace import Pace

    class Interrupting(Pace):
        def on_epoch(self, metrics, state):
            if metrics.epoch == 3:
                os.kill(os.getpid(), signal.SIGINT)

    vae = logvar.VAE(**(QUICK | {"epochs": 50}))
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X, watcher=Interrupting())
    assert 3 <= vae.n_iter_ < 50 and vae.ended_ == "interrupted"
    assert np.isfinite(vae.transform(X)).all()
