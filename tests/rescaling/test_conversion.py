"""Runs moved to another scale: to the bit, to rounding, or by the best match, which is stated."""

import jax
import numpy as np
import pytest

import logvar
from logvar.rescaling.conversion import affine_between
from logvar.rescaling.matching import coordinates, factor_between
from logvar.runs.converting import convert
from logvar.runs.loading import load_state
from tests.cases import some
from tests.training.test_training import DIGITS, as_bytes

SETTINGS = {
    "latent_dim": 3,
    "network": "mlp(hidden=[16])",
    "batch_size": 64,
    "patience": 0,
    "random_state": 1,
}


def trained(**settings):
    return logvar.VAE(**(SETTINGS | {"epochs": 4} | settings)).fit(DIGITS.train[:300])


@pytest.fixture(scope="module")
def well_trained():
    return trained(epochs=30, learning_rate=5e-3)


def head_columns(factor, tree):
    head = tree.encoder.head
    columns = np.where(np.arange(head.bias.shape[0]) < head.bias.shape[0] // 2, 1.0, factor)
    return columns.astype(np.float32)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_without_match_the_optimizer_moves_to_the_new_scales_own_coordinates(optimizer):
    """One more step by hand: Adam's moments are those of the gradient under the new scale."""
    vae = trained(optimizer=optimizer)
    moved, _ = convert(vae, "log-std", DIGITS.train[:300], match=False)
    assert moved.recipe_.training.match == ""
    if optimizer == "adam":
        columns = head_columns(2.0, vae.fitted_.state.params)  # gradient with respect to ½·w
        old, new = (
            next(leaf for leaf in jax.tree.leaves(
                v.fitted_.state.optimizer, is_leaf=lambda n: hasattr(n, "first")) if hasattr(leaf, "first"))
            for v in (vae, moved)
        )  # fmt: skip
        np.testing.assert_array_equal(
            new.first.encoder.head.kernel, old.first.encoder.head.kernel * columns
        )
        np.testing.assert_array_equal(
            new.second.encoder.head.bias, old.second.encoder.head.bias * columns**2
        )


def test_within_the_log_family_the_change_is_rounding():
    _, change = convert(trained(), "isometric", DIGITS.train)
    assert change.kind == "to rounding"
    assert 0 < change.sigma < 1e-6 and change.kl < 1e-6 and change.elbo < 1e-4


def test_there_and_back_is_the_same_bytes():
    vae = trained()
    there, _ = convert(vae, "log-std", DIGITS.train[:300])
    back, _ = convert(there, "log-variance", DIGITS.train[:300])
    assert as_bytes(back.model_) == as_bytes(vae.model_)
    assert as_bytes(back.fitted_.state) == as_bytes(vae.fitted_.state)
    assert back.recipe_ == vae.recipe_


def test_a_matched_run_keeps_its_reference():
    vae = trained(scale="log-std", match="log-variance")
    moved, _ = convert(vae, "isometric", DIGITS.train[:300])
    assert moved.recipe_.training.match == "log-variance"
    back, _ = convert(vae, "log-variance", DIGITS.train[:300])
    assert back.recipe_.training.match == ""


@pytest.mark.parametrize(
    "name",
    some(
        ["softplus", "stdplus", "exp-linear", "nvae", "bounded", "softplus-precision"],
        quick=["softplus", "nvae"],
    ),
)
def test_other_scales_get_the_best_match_with_its_error_stated(well_trained, name):
    vae = well_trained
    moved, change = convert(vae, name, DIGITS.train)
    assert change.kind == "best local match"
    before, after = vae.posterior(DIGITS.train), moved.posterior(DIGITS.train)
    ratio = np.asarray(after.sigma, float) / np.asarray(before.sigma, float)
    assert change.sigma == pytest.approx(np.max(np.abs(ratio - 1)), rel=1e-3)
    assert change.sigma < 0.2
    assert change.mean_elbo == pytest.approx(
        moved.score(DIGITS.train) - vae.score(DIGITS.train), abs=1e-4
    )
    assert abs(change.mean_elbo) < 0.2


def test_the_match_is_the_least_squares_one():
    """Against a search over both unknowns that shares nothing with Gauss–Newton."""
    from scipy import optimize

    raw = np.random.default_rng(0).normal(-1.5, 1.0, size=(400, 1))
    old, new = logvar.scales.get("log-variance"), logvar.scales.get("softplus")
    affine = affine_between(old, new, raw.astype(np.float32))

    def miss(unknowns):
        moved = unknowns[0] * raw + unknowns[1]
        return np.mean((np.log(np.logaddexp(0, moved)) - raw / 2) ** 2)

    best = optimize.minimize(
        miss, [0.5, 0.5], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}
    )
    assert miss([affine.factor[0], affine.offset[0]]) <= best.fun * (1 + 1e-6)


def test_a_collapsed_latent_is_matched_at_its_one_value():
    raw = np.full((50, 2), -0.3, np.float32)
    affine = affine_between(logvar.scales.get("log-std"), logvar.scales.get("softplus"), raw)
    sigma = np.log1p(np.exp(affine.factor * raw + affine.offset))
    np.testing.assert_allclose(sigma, np.exp(raw), rtol=1e-5)


def test_a_scale_that_cannot_reach_says_how_far_off_it_is(well_trained):
    """Raw outputs stay small: they do not run after what lies beyond the bounds."""
    moved, change = convert(well_trained, "clamped(log-std, low=-0.2, high=0.2)", DIGITS.train)
    assert change.sigma > 0.1
    assert np.abs(moved.posterior(DIGITS.train).raw).max() < 1000


def test_own_networks_are_refused():
    import equinox as eqx

    vae = logvar.VAE(
        encoder=eqx.nn.Linear(4, 4, key=jax.random.key(0)),
        decoder=eqx.nn.Linear(2, 4, key=jax.random.key(1)), epochs=1,
    ).fit(np.random.default_rng(0).normal(size=(20, 4)))  # fmt: skip
    with pytest.raises(logvar.LogvarError, match="convert needs a built-in encoder"):
        convert(vae, "log-std", np.zeros((2, 4)))


def test_the_state_of_a_saved_run_is_found_again(tmp_path):
    vae = trained()
    path = vae.save(tmp_path / "run")
    assert as_bytes(load_state(logvar.load(path).fitted_, path)) == as_bytes(vae.fitted_.state)


def test_coordinates_of_a_converted_run_are_its_references():
    vae = trained()
    moved, _ = convert(vae, "log-std", DIGITS.train[:300])
    factor = factor_between("log-std", moved.recipe_.training.match)
    seen = coordinates(moved.model_, factor).encoder.head.bias
    np.testing.assert_array_equal(seen, head_columns(0.5, moved.model_))


def test_an_outlier_detector_keeps_its_threshold_and_samplers(tmp_path):
    """log p(x) and z from a sampler do not depend on the encoder's scale."""
    X = np.random.default_rng(0).normal(size=(100, 3))
    small = {"latent_dim": 1, "network": "mlp(hidden=[4])", "epochs": 1, "steps": 0, "n_samples": 3}
    detector = logvar.OutlierVAE(**small, contamination=0.2).fit(X)
    detector.fit_sampler(X, "mixture(components=2)")
    converted, change = convert(detector, "log-std", X)
    assert change.kind == "bitwise" and converted.model_.scale.rate == 1
    assert (converted.predict(X) == detector.predict(X)).all()
    again = logvar.load(converted.save(tmp_path / "run"))
    assert (again.predict(X) == detector.predict(X)).all()
    assert (again.sample(3, sampler="mixture") == detector.sample(3, sampler="mixture")).all()
