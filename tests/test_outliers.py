"""`logvar.OutlierVAE`: scikit-learn's contract, thresholds, missing cells, saving, robust fitting."""

import inspect

import numpy as np
import pytest
from sklearn.base import OutlierMixin, clone
from sklearn.datasets import load_iris
from sklearn.utils import estimator_checks, get_tags

import logvar
from logvar.errors import LogvarError
from logvar.outliers import DEFAULTS, offset

QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 1, "steps": 0, "n_samples": 5}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 1)) @ np.ones((1, 3)) + 0.1 * RNG.normal(size=(60, 3))


@pytest.fixture(scope="module")
def detector():
    return logvar.OutlierVAE(**QUICK | {"steps": 200}).fit(X)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "check",
    ["check_outliers_train", "check_outliers_fit_predict", "check_estimators_unfitted",
     "check_classifier_data_not_an_array"],
)  # fmt: skip
def test_scikit_learns_checks_of_detectors(check):
    """The others are of estimators, and run over `VAE` in test_estimator.py."""
    detector = logvar.OutlierVAE(**QUICK, likelihood="normal")
    getattr(estimator_checks, check)("OutlierVAE", detector)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scikit_learns_own_checks():
    stochastic = {"check_sample_weight_equivalence_on_dense_data": "noise and order differ"}
    results = estimator_checks.check_estimator(
        logvar.OutlierVAE(**QUICK, likelihood="normal"),
        on_skip=None,
        on_fail="raise",
        expected_failed_checks=stochastic,
    )
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {"check_outliers_train", "check_outliers_fit_predict"} <= passed
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == stochastic.keys()


def test_a_row_far_out_is_survived_and_found():
    """At its step σ of that row overflows: a `VAE` ends there, and so did the detector."""
    rows = np.tile(load_iris().data, (200, 1))
    rows[777, 2] = 1e30
    settings = {"scale": "log-std", "likelihood": "normal", "batch_size": 1024} | {
        "network": "mlp(initialization=he)", "n_samples": 5, "epochs": 1, "steps": 0
    }  # fmt: skip
    detector = logvar.OutlierVAE(**settings).fit(rows)
    assert len(detector.rescues_) == 1 and "bad data" in detector.rescues_[0].cause
    assert detector.train_scores_.argmin() == 777
    assert np.isfinite(detector.train_scores_).all()


def test_settings_are_those_of_vae_and_three_more(detector):
    assert isinstance(detector, OutlierMixin)
    assert get_tags(detector).estimator_type == "outlier_detector"
    own = logvar.OutlierVAE().get_params()
    extra = {"latent_dim": 20, "contamination": "auto", "n_samples": 100, "steps": 3000}
    assert own == logvar.VAE().get_params() | DEFAULTS | extra
    assert clone(detector).get_params() == detector.get_params()
    shown = inspect.signature(logvar.OutlierVAE).parameters
    assert {name: one.default for name, one in shown.items()} == own
    assert "sample_weight" in inspect.signature(detector.fit).parameters
    with pytest.raises(TypeError, match="colour"):
        logvar.OutlierVAE(colour="red")


def test_scores_belong_to_rows(detector):
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(scores, detector.train_scores_)
    np.testing.assert_array_equal(scores[7:9], detector.score_samples(X[7:9]))
    np.testing.assert_array_equal(detector.decision_function(X), scores - detector.offset_)
    far = np.array([[0.0, 0, 0], [1.5, -1.5, 1.5]])  # the second is odd by its correlations alone
    assert detector.predict(far).tolist() == [1, -1]
    assert detector.predict(np.full((1, 3), 1e20)).tolist() == [-1]  # and no warning
    top = detector.explain([[0.0, 0.0, 3.0]])[0][0]
    assert top.column == 2 and top.surprise > 5
    for none in (0, -1):  # a slice up to −1 would leave out the last
        with pytest.raises(logvar.LogvarError, match=f"top is {none}: expected an integer of at"):
            detector.explain(X[:1], top=none)


@pytest.mark.parametrize(
    "contamination", [0, -0.1, 0.500001, 2.3, "some", None, True, float("nan")]
)
def test_a_contamination_that_is_no_share_is_refused_before_fitting(contamination):
    wrong = logvar.OutlierVAE(contamination=contamination)
    with pytest.raises(LogvarError, match=r"contamination is .*above 0 and at most 0\.5") as error:
        wrong.fit(None)
    assert "\n" not in str(error.value)


def test_other_wrong_settings():
    with pytest.raises(LogvarError, match="n_samples is 0"):
        logvar.OutlierVAE(n_samples=0).fit(X)
    with pytest.raises(LogvarError, match="steps is -1"):
        logvar.OutlierVAE(steps=-1).fit(X)


def test_thresholds():
    scores = np.array([-9.0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert (scores < offset(scores, 0.1)).sum() == 1
    assert (scores < offset(scores, 0.5)).sum() == 5
    low, high = np.quantile(scores, [0.25, 0.75])
    assert offset(scores, "auto") == low - 1.5 * (high - low)
    # A row of weight two counts as two; one of weight 0 not at all.
    weight = np.array([0, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    assert offset(scores, 0.3, weight) == np.quantile(
        np.repeat(scores, weight), 0.3, method="inverted_cdf"
    )
    assert offset(scores, 0.1, weight) == 0


def test_a_share_of_the_training_rows_is_odd(detector):
    share = clone(detector).set_params(contamination=0.2, steps=0)
    odd = share.fit_predict(X)
    assert (odd == -1).sum() == 12 and odd.dtype.kind == "i"
    np.testing.assert_array_equal(odd, share.predict(X))


def test_steps_are_taken_however_few_rows_there_are():
    steps = logvar.OutlierVAE(steps=100, epochs=3, batch_size=16)
    assert steps.epochs_for(16) == 100 and steps.epochs_for(17) == 50
    assert steps.epochs_for(16_000) == 3


def test_a_missing_cell_counts_as_usual(detector):
    holes = X[:4].copy()
    holes[0, 1] = holes[1] = np.nan
    scores = detector.score_samples(holes)
    plain = logvar.VAE.of(detector.fitted_).score_samples(holes, 5)
    usual = detector.fitted_.usual_cells
    np.testing.assert_allclose(scores - plain, [usual[1], usual.sum(), 0, 0], rtol=1e-6, atol=1e-12)


def test_real_numbers_are_looked_at_with_a_tenth_of_their_spread(detector):
    assert detector.recipe_.model.likelihood == "normal(noise=fixed, sigma=0.1)"
    bits = logvar.OutlierVAE(**QUICK).fit((X > 0).astype(float))
    assert bits.recipe_.model.likelihood == "auto"
    assert bits.decisions_.likelihood.startswith("bernoulli")


def test_it_comes_back_from_its_folder(detector, tmp_path):
    share = clone(detector).set_params(contamination=0.25, steps=0).fit(X)
    again = logvar.load(share.save(tmp_path / "run"))
    assert type(again) is logvar.OutlierVAE
    assert (again.contamination, again.n_samples) == (0.25, 5)
    np.testing.assert_array_equal(again.decision_function(X), share.decision_function(X))
    assert type(logvar.load(logvar.VAE.of(share.fitted_).save(tmp_path / "plain"))) is logvar.VAE
    # Fitting again gives the same model.
    np.testing.assert_array_equal(clone(again).fit(X).train_scores_, share.train_scores_)
    path = tmp_path / "run" / "outliers.json"
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with pytest.raises(LogvarError, match=r"outliers\.json"):
        logvar.load(tmp_path / "run")


def test_a_condition_may_be_named_in_x():
    table = {"batch": np.tile(["a", "b"], 30), "x": X[:, 0], "y": X[:, 1]}
    told = logvar.OutlierVAE(**QUICK, contamination=0.1)
    signs = told.fit_predict(table, condition="batch")
    np.testing.assert_array_equal(told.train_scores_, told.score_samples(table))
    assert (signs == -1).sum() == 6
    table["batch"] = table["batch"][::-1]
    assert not np.array_equal(told.score_samples(table), told.train_scores_)


WEIGHT = (np.arange(60) != 7).astype(float)
LEVELS = np.tile(np.array(["a", "b"], object), 30)
ODD_LEVEL, NO_LEVEL = (np.where(WEIGHT == 0, level, LEVELS) for level in ("c", None))
COUNTS = np.where(WEIGHT[:, None] == 0, 0.0, 1 + np.arange(180).reshape(60, 3) % 5)


@pytest.mark.parametrize(
    ("rows", "settings", "condition", "message"),
    [
        (X, {}, ODD_LEVEL, "the level 'c' at row 7, which the model never saw"),
        (X, {}, NO_LEVEL, "no value in row 7"),
        ({"x": X[:, 0], "side": ODD_LEVEL}, {}, "side", "column 'side' has the level 'c' at row 7"),
        (COUNTS, {"likelihood": "poisson"}, None, r"row 7 \(counting from 0\) without a count"),
    ],
    ids=["level", "no level", "level in a column", "no count"],
)
def test_a_row_of_weight_0_that_cannot_be_scored_is_refused_before_training(
    rows, settings, condition, message, monkeypatch
):
    """All rows of X get a score, and training reads only those that count."""
    monkeypatch.setattr(logvar.assembly.Run, "train", None)
    with pytest.raises(LogvarError, match=f"rows of weight 0 are scored like .*{message}") as error:
        logvar.OutlierVAE(**QUICK | settings).fit(rows, sample_weight=WEIGHT, condition=condition)
    assert str(error.value).endswith("leave it out of X") and "\n" not in str(error.value)
    with pytest.raises(TypeError, match="not callable"):  # the same row with a weight of its own
        logvar.OutlierVAE(**QUICK).fit(X, sample_weight=WEIGHT, condition=LEVELS)


def test_a_row_of_weight_0_is_scored_and_moves_no_threshold():
    detector = logvar.OutlierVAE(**QUICK, contamination=0.1)
    weighed = clone(detector).fit(X, sample_weight=WEIGHT)
    alone = clone(detector).fit(X[WEIGHT > 0], sample_weight=WEIGHT[WEIGHT > 0])
    assert weighed.train_scores_.shape == (60,) and weighed.offset_ == alone.offset_
    np.testing.assert_array_equal(weighed.train_scores_[WEIGHT > 0], alone.train_scores_)
    np.testing.assert_array_equal(weighed.score_samples(X[7:8]), weighed.train_scores_[7:8])


def test_a_condition_may_be_a_list_of_levels():
    """Beside an array, whose columns have no names, texts are no names of columns."""
    listed = logvar.OutlierVAE(**QUICK).fit(X, condition=LEVELS.tolist())
    of_array = logvar.OutlierVAE(**QUICK).fit(X, condition=LEVELS)
    np.testing.assert_array_equal(listed.train_scores_, of_array.train_scores_)


def test_settings_may_be_numbers_of_numpy(detector, tmp_path):
    numbers = {"steps": np.int64(3), "n_samples": np.int64(5), "contamination": np.float32(0.25)}
    fitted = logvar.OutlierVAE(**QUICK | numbers).fit(X)
    again = logvar.load(fitted.save(tmp_path / "run"))
    assert (again.contamination, again.n_samples) == (0.25, 5)
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_a_trimmed_fit_resumes_to_the_same_bytes(detector, tmp_path):
    trimmed = clone(detector).set_params(
        objective="trimmed(fraction=0.2, after=2)", epochs=6, steps=0, batch_size=16
    )
    whole = clone(trimmed).fit(X)
    clone(trimmed).set_params(epochs=3).fit(X, checkpoints=tmp_path)
    resumed = clone(trimmed).fit(X, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.train_scores_, whole.train_scores_)
    plain = clone(trimmed).set_params(objective="elbo").fit(X)
    assert not np.array_equal(plain.train_scores_, whole.train_scores_)
