"""Observation noise and initial σ in whole runs."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar import assembly
from logvar.assembly.decisions import decide
from logvar.evaluation.units import bits_per_dimension
from logvar.likelihoods.noise import MODES
from logvar.models.batch import Batch
from logvar.recipe import Recipe
from logvar.rescaling.matching import matched
from tests.cases import every_value_once, some

X = load_iris().data
QUICK = {"latent_dim": 2, "network": "mlp(hidden=[16])", "epochs": 8, "random_state": 0}
PIXELS = np.random.default_rng(0).binomial(255, 0.3, size=(90, 6)).astype(np.uint8)


@pytest.mark.parametrize(
    ("likelihood", "noise"),
    [
        *some([("normal", mode) for mode in MODES], quick=[("normal", "shared")]),
        ("laplace", "optimal"),
        ("student-t", "per-example"),
    ],
)
def test_every_mode_trains_saves_and_loads(likelihood, noise, tmp_path):
    vae = logvar.VAE(**QUICK, likelihood=f"{likelihood}(noise={noise})").fit(X)
    assert vae.history_[-1]["train"]["elbo"] > vae.history_[0]["train"]["elbo"]
    again = logvar.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.elbo(X), vae.elbo(X))
    assert vae.sample(5).shape == (5, 4)
    summary = vae.evaluate(X, n_importance=3).noise
    assert summary.mode == noise and summary.share_at_floor == 0


def test_optimal_noise_is_frozen_at_the_residuals_of_the_training_set():
    """One row's score does not depend on the rows scored with it, and σ² is their mean square."""
    # Few large steps: the residuals of the last epoch are not those of its end.
    quick = QUICK | {"epochs": 3, "learning_rate": 0.05, "batch_size": 32}
    vae = logvar.VAE(**quick, likelihood="auto(noise=optimal)", validation_fraction=0.0).fit(X)
    np.testing.assert_array_equal(vae.elbo(X)[:3], vae.elbo(X[:3]))
    noise = vae.model_.likelihood.noise
    sigma = float(noise.scale.sigma(noise.raw))
    # Σ log p at this σ beats any other, by finite differences of the score itself.
    import equinox as eqx
    import jax.numpy as jnp

    def score_at(other):
        raw = jnp.asarray(noise.scale.raw(other), jnp.float32)
        model = eqx.tree_at(lambda m: m.likelihood.noise.raw, vae.model_, raw)
        vae.fitted_ = dataclasses.replace(vae.fitted_, model=model)
        return vae.elbo(X, analytic_kl=True).mean(dtype=float)

    assert score_at(sigma) > max(score_at(sigma * 1.01), score_at(sigma / 1.01))


def test_optimal_noise_reaches_a_better_bound_than_a_fixed_one():
    longer = QUICK | {"epochs": 60, "learning_rate": 0.01}
    fixed = logvar.VAE(**longer, likelihood="normal(noise=fixed)").fit(X)
    best = logvar.VAE(**longer, likelihood="normal(noise=optimal)").fit(X)
    assert best.score(X) > fixed.score(X) + 0.5


def test_a_copied_column_drives_sigma_to_the_floor_and_the_report_says_so():
    """A constant column is reproduced exactly: without a floor its density has no bound."""
    rows = np.column_stack([X, np.zeros(len(X))])
    vae = logvar.VAE(**(QUICK | {"epochs": 400, "patience": 0, "learning_rate": 0.02}),
                     likelihood="normal(noise=per-feature, floor=0.05)").fit(rows)  # fmt: skip
    noise = vae.evaluate(rows, n_importance=2).noise
    assert noise.share_at_floor >= 0.2
    assert "bounds their density in place of the data" in str(noise)


def test_discretized_logistic_gives_probabilities_of_pixels():
    vae = logvar.VAE(**QUICK, likelihood="discretized-logistic(sigma=0.1)").fit(PIXELS)
    figure = vae.evaluate(PIXELS, n_importance=5)["bits_per_dimension"]
    assert 0 < figure.value < 9 and "probability of the levels" in figure.how
    drawn = vae.sample(50)
    assert (drawn == np.round(drawn)).all() and drawn.min() >= 0 and drawn.max() <= 255
    with pytest.raises(logvar.LogvarError, match="integers from 0 to 255"):
        logvar.VAE(**QUICK, likelihood="discretized-logistic").fit(X)


def test_dequantized_density_and_probability_of_levels_cost_about_the_same_bits():
    """Two roads to bits per dimension that share no formula, on binomial pixels."""
    settings = QUICK | {"epochs": 150, "learning_rate": 0.01}
    levels = logvar.VAE(**settings, likelihood="discretized-logistic(sigma=0.05)").fit(PIXELS)
    dense = logvar.VAE(**settings, likelihood="normal", dequantize=True).fit(PIXELS)
    a, b = (
        v.evaluate(PIXELS, n_importance=20)["bits_per_dimension"].value for v in (levels, dense)
    )
    # The pixels' own entropy: binomial(255, 0.3), σ = 7.32, ½ log2(2πe σ²) = 4.92 bits.
    assert a == pytest.approx(4.92, abs=0.25) and b == pytest.approx(4.92, abs=0.25)


def test_dequantization_fills_each_level_and_no_other():
    """Noise of less than one level would make integers look cheaper than they are."""
    import jax
    import jax.numpy as jnp

    from logvar.data.preparation import Preparation

    sevens = jnp.full(20_000, 7, jnp.uint8)
    x = np.asarray(Preparation(dequantize=True)(sevens, jax.random.key(0)))
    assert 6.5 <= x.min() < 6.51 and 7.49 < x.max() <= 7.5
    counts, _ = np.histogram(x, bins=10, range=(6.5, 7.5))
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    assert x.mean() == pytest.approx(7, abs=0.01)


def test_a_noise_without_a_closed_form_is_refused():
    with pytest.raises(logvar.LogvarError, match="no closed form"):
        logvar.VAE(**QUICK, likelihood="student-t(noise=optimal)").fit(X)


def test_dequantize_is_refused_where_it_has_no_meaning():
    with pytest.raises(logvar.LogvarError, match="density of real values"):
        logvar.VAE(**QUICK, likelihood="bernoulli", dequantize=True).fit(
            (PIXELS > 76).astype(np.uint8)
        )
    with pytest.raises(logvar.LogvarError, match="dequantize got 5.1 at row 0, column 0"):
        logvar.VAE(**QUICK, likelihood="normal", dequantize=True).fit(X)


def test_bits_per_dimension_do_not_depend_on_how_pixels_were_scaled():
    rng = np.random.default_rng(0)
    pixels = rng.normal(100, 20, size=(1000, 4))

    def density(x, mean, sigma):
        return (-0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))).sum(1)

    plain = bits_per_dimension(density(pixels, 100, 20), 4)
    scaled = bits_per_dimension(density(pixels / 255, 100 / 255, 20 / 255), 4, data_factor=1 / 255)
    np.testing.assert_allclose(plain, scaled, rtol=1e-12)
    with pytest.raises(logvar.LogvarError, match="positive"):
        bits_per_dimension(0.0, 0)


def test_own_decoder_gives_location_and_scale():
    import equinox as eqx
    import jax

    class Two(eqx.Module):
        one: eqx.nn.Linear

        def __call__(self, z):
            out = self.one(z)
            return out[:4], out[4:]

    encoder = eqx.nn.Linear(4, 4, key=jax.random.key(0))
    decoder = Two(eqx.nn.Linear(2, 8, key=jax.random.key(1)))
    settings = {"epochs": 3, "encoder": encoder, "decoder": decoder}
    assert logvar.VAE(**settings, likelihood="normal(noise=per-example)").fit(X).score(X) > -100
    with pytest.raises(logvar.LogvarError, match="expected one array of shape"):
        logvar.VAE(**settings).fit(X)
    plain = settings | {"decoder": eqx.nn.Linear(2, 4, key=jax.random.key(1))}
    with pytest.raises(logvar.LogvarError, match="because the noise is per example"):
        logvar.VAE(**plain, likelihood="normal(noise=per-example)").fit(X)


# Initial σ.


def start(scale, initial_sigma="auto", **more):
    recipe = Recipe().replace(scale=scale, initial_sigma=initial_sigma, latent_dim=8, **more)
    rows = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
    decisions = decide(recipe, rows, custom_networks=False)
    model = assembly.build_model(recipe, decisions, (20,))
    if more.get("match"):
        model, _ = matched(model, more["match"])
    import jax

    raw = jax.jit(jax.vmap(model.encode))(Batch(rows))["raw"]
    return np.asarray(model.scale.log_sigma(raw), float), np.asarray(
        model.scale.kl_excess(raw), float
    )


PLAIN = [name for name, entry in logvar.scales.REGISTRY.items() if not entry.wraps]


@pytest.mark.parametrize(
    "name",
    some(PLAIN, quick=[n for n in PLAIN if n == "pyro" or not logvar.scales.REGISTRY[n].preset]),
)
def test_every_scale_starts_at_the_same_sigma_and_a_comparable_kl(name):
    reference_log, reference_kl = start("log-variance")
    log_sigma, kl = start(name)
    stated = logvar.scales.initial_sigma(name)
    assert abs(np.median(log_sigma) - np.log(stated or 1.0)) < 0.1
    if stated is None:
        assert log_sigma.std() == pytest.approx(reference_log.std(), rel=0.1)
        assert kl.mean() == pytest.approx(reference_kl.mean(), rel=0.25)


def test_as_is_leaves_the_raw_outputs_and_their_kl_differs():
    kl = {name: start(name, "as-is")[1].mean() for name in ("log-variance", "log-std")}
    assert kl["log-std"] > 3.5 * kl["log-variance"]
    np.testing.assert_array_equal(start("log-variance", "as-is")[0], start("log-variance")[0])


@pytest.mark.parametrize(
    ("name", "sigma"),
    every_value_once(
        ["log-variance", "softplus", "stdplus", "nvae", "log-precision"], [0.1, 0.5, 2.0]
    ),
)
def test_training_starts_at_the_sigma_that_was_asked_for(name, sigma):
    log_sigma, _ = start(name, sigma)
    assert np.median(log_sigma) == pytest.approx(np.log(sigma), abs=0.12)


def test_an_initial_sigma_out_of_reach_is_refused():
    with pytest.raises(logvar.LogvarError, match="out of reach of Bounded"):
        start("bounded", 3.0)
    with pytest.raises(logvar.LogvarError, match="'auto' or 'as-is'"):
        Recipe().replace(initial_sigma="one").checked()
    with pytest.raises(logvar.LogvarError, match="positive"):
        Recipe().replace(initial_sigma=-1.0).checked()


def test_auto_starts_in_the_middle_where_one_is_out_of_reach():
    log_sigma, _ = start("clamped(log-std, low=-4, high=-2, hard=True)")
    assert np.median(log_sigma) == pytest.approx(-3, abs=0.2)


def test_a_matched_run_starts_as_its_reference():
    np.testing.assert_array_equal(
        start("log-std", match="log-variance")[0], start("log-variance")[0]
    )


def test_own_encoders_are_left_alone_unless_a_number_is_asked_for():
    import equinox as eqx
    import jax

    mine = {"encoder": eqx.nn.Linear(4, 4, key=jax.random.key(0)),
            "decoder": eqx.nn.Linear(2, 4, key=jax.random.key(1)), "epochs": 1}  # fmt: skip
    logvar.VAE(**mine).fit(X)
    with pytest.raises(logvar.LogvarError, match="initial_sigma needs a built-in encoder"):
        logvar.VAE(**mine, initial_sigma=0.5).fit(X)
