"""`logvar.VAEClassifier`: labels known in part, learned, summed out, saved and resumed."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.utils import estimator_checks

import logvar
from logvar.errors import LogvarError
from logvar.models.labelled import LabelledVAE

X, Y = make_blobs(240, centers=[(0, 0, 0), (4, 0, 1), (0, 5, -2)], random_state=0)
X = X.astype(np.float32)
SOME = np.where(np.arange(240) < 24, Y, -1)
QUICK = {"latent_dim": 1, "network": "mlp(hidden=[8])", "batch_size": 40, "learning_rate": 0.02}


def model(epochs=12, **settings):
    return logvar.VAEClassifier(epochs=epochs, **QUICK | settings)


@pytest.fixture(scope="module")
def fitted():
    return model().fit(X, SOME)


def test_it_tells_the_labels_of_rows_without_one(fitted):
    assert fitted.score(X[24:], Y[24:]) > 0.9
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (240, 3) and fitted.classes_.tolist() == [0, 1, 2]
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(fitted.predict(X), np.argmax(probabilities, axis=1))
    trained_on = SOME[logvar.data.order.split(240, 0.1, 0)[0]]
    shares = np.bincount(trained_on[trained_on >= 0]) / np.sum(trained_on >= 0)
    np.testing.assert_allclose(fitted.class_prior_, shares, rtol=1e-6)


def test_the_score_is_the_accuracy_on_rows_whose_label_is_known(fitted):
    accuracy = np.mean(fitted.predict(X[:24]) == Y[:24])
    assert fitted.score(X, SOME) == accuracy == fitted.evaluate(X, y=SOME)["accuracy"].value
    weight = np.arange(240.0)
    hits = fitted.predict(X[:24]) == Y[:24]
    found = fitted.score(X, SOME, sample_weight=weight)
    assert found == pytest.approx(np.average(hits, weights=weight[:24]))
    assert fitted.score(X[:2], [7, None]) == 0  # a label that the model does not know is missed
    with pytest.raises(LogvarError, match="y has no known label in 2 rows"):
        fitted.score(X[:2], [None, np.nan])
    with pytest.raises(LogvarError, match="inconsistent numbers of samples: 240 rows of X, and 9"):
        fitted.score(X, Y[:9])


def test_log_p_sums_over_the_labels(fitted):
    """log Σ_y p(y)·p(x | y), each p(x | y) by the conditional model on its own."""
    from logvar.data.examples import examples_of
    from logvar.evaluation.importance import importance_log_likelihood

    assert isinstance(fitted.model_, LabelledVAE)
    rows, preparation = fitted.fitted_.read(X[:60])
    each = []
    for label in np.eye(3, dtype=np.float32):
        told = np.repeat(label[None], 60, 0)
        given = examples_of(rows)
        given = type(given)(given.values, given.given, given.units, condition=told)
        found = importance_log_likelihood(fitted.model_.conditional, given, preparation, 0, 400)
        each.append(found.log_likelihood)
    expected = logsumexp(np.stack(each, 1) + np.log(fitted.class_prior_), axis=1)
    np.testing.assert_allclose(fitted.score_samples(X[:60], 400), expected, atol=0.15)
    assert (fitted.elbo(X, n_samples=20).mean()) < fitted.score_samples(X).mean()


def test_draws_of_a_label_are_like_its_rows(fitted):
    for label in range(3):
        drawn = fitted.sample(500, label=label)
        assert drawn.shape == (500, 3)
        np.testing.assert_allclose(drawn.mean(0), X[label == Y].mean(0), atol=1.0)
        assert np.mean(fitted.predict(drawn) == label) > 0.8
    each = fitted.sample(3, label=[2, 0, 1], mean=True)
    np.testing.assert_array_equal(each[1], fitted.sample(2, label=[0, 0], mean=True)[1])
    shares = np.bincount(fitted.predict(fitted.sample(1000)), minlength=3) / 1000
    np.testing.assert_allclose(shares, fitted.class_prior_, atol=0.15)


def test_codes_and_reconstructions_are_of_the_most_probable_label(fitted):
    codes = fitted.transform(X)
    assert codes.shape == (240, 1)
    again = fitted.inverse_transform(codes, label=fitted.predict(X))
    np.testing.assert_allclose(fitted.reconstruct(X), again, rtol=1e-6)
    average = sum(
        share * fitted.inverse_transform(codes, label=label)
        for share, label in zip(fitted.class_prior_, range(3), strict=True)
    )
    np.testing.assert_allclose(fitted.inverse_transform(codes), average, rtol=1e-4, atol=1e-5)


def test_missing_cells_are_filled_and_figures_name_what_is_summed_out(fitted):
    holes = X[:30].copy()
    holes[:, 1] = np.nan
    with_holes = model(epochs=3).fit(np.concatenate([holes, X[30:]]), SOME)
    filled = with_holes.impute(holes[:4], 50)
    assert np.isfinite(filled).all() and np.isfinite(with_holes.predict_proba(holes)).all()
    figures = fitted.evaluate(X, n_importance=5)
    assert "p(y, z)" in figures["kl"].how and figures["log_likelihood"].value < 0
    assert len(figures.kl_per_latent) == 1


def test_a_saved_model_is_the_same(fitted, tmp_path):
    path = fitted.save(tmp_path / "run")
    again = logvar.load(path)
    assert isinstance(again, logvar.VAEClassifier)
    assert again.get_params() == fitted.get_params()
    np.testing.assert_array_equal(again.classes_, fitted.classes_)
    assert again.classes_.dtype == fitted.classes_.dtype
    for method in ("predict_proba", "score_samples", "transform"):
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(fitted, method)(X))
    np.testing.assert_array_equal(again.sample(5, label=1), fitted.sample(5, label=1))
    second = again.save(tmp_path / "again")
    for name in ("weights.safetensors", "manifest.json", "recipe.toml"):
        assert (path / name).read_bytes() == (second / name).read_bytes(), name


def test_a_manifest_with_other_labels_is_refused(fitted, tmp_path):
    path = fitted.save(tmp_path / "run") / "manifest.json"
    content = json.loads(path.read_text())
    for labels in ({"classes": [0, 1]}, {"classes": [[0], 1, 2], "dtype": "<i8", "column": None}):
        path.write_text(json.dumps(content | {"labels": labels}))
        with pytest.raises(LogvarError, match="labels"):
            logvar.load(path.parent)


def test_it_resumes_to_the_same_bytes(tmp_path):
    whole = model(epochs=4).fit(X, SOME)
    kept = {"checkpoints": logvar.Checkpoints(tmp_path, seconds=0)}
    model(epochs=2).fit(X, SOME, **kept)
    rest = model(epochs=4).fit(X, SOME, resume=True, **kept)
    assert rest.history_ == whole.history_
    np.testing.assert_array_equal(rest.predict_proba(X), whole.predict_proba(X))
    other = np.where(np.arange(240) == 100, Y, SOME)
    with pytest.raises(LogvarError, match="label_sha256"):
        model(epochs=5).fit(X, other, resume=True, **kept)


def test_texts_are_labels(fitted):
    names = np.array(["ash", "birch", "cedar"], object)
    y = np.where(SOME >= 0, names[Y], None)
    of_texts = model().fit(X, y)
    np.testing.assert_array_equal(of_texts.predict_proba(X), fitted.predict_proba(X))
    assert of_texts.classes_.tolist() == names.tolist()
    assert set(of_texts.predict(X)) <= set(names)


def test_labels_of_rows_without_weight_are_not_read():
    """As if those rows were not there; a class of held-out rows alone is refused."""
    counts = Y != 2
    weighed = model(epochs=1).fit(X, Y, sample_weight=counts.astype(float))
    alone = model(epochs=1).fit(X[counts], Y[counts])
    assert weighed.classes_.tolist() == [0, 1] and weighed.history_ == alone.history_
    np.testing.assert_array_equal(weighed.predict_proba(X), alone.predict_proba(X))
    y = np.where(Y == 0, "a", "b").astype(object)
    y[logvar.data.order.split(240, 0.1, 0)[1][0]] = "held out"
    with pytest.raises(LogvarError, match="class 'held out' has no row to train on"):
        model().fit(X, y)
    with pytest.raises(LogvarError, match="one class, 0, in .* known labels: expected"):
        model().fit(X, Y, sample_weight=(Y == 0).astype(float))
    with pytest.raises(LogvarError, match="inconsistent numbers of samples"):
        model().fit(X, Y[:9], sample_weight=counts.astype(float))


def test_a_column_of_a_table_is_the_label():
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["tree"] = np.where(SOME >= 0, np.array(["ash", "birch", "cedar"])[Y], None)
    of_column = model(schema={"tree": "label"}).fit(frame)
    assert of_column.fitted_.labels.column == "tree"
    drawn = of_column.sample(4, label="cedar")
    assert drawn["tree"].tolist() == ["cedar"] * 4 and list(drawn) == list(frame)
    assert set(of_column.sample(20)["tree"]) <= set(of_column.classes_)
    new = frame.drop(columns="tree")
    assert np.mean(of_column.predict(new)[24:] == of_column.classes_[Y[24:]]) > 0.8


def test_labels_stand_beside_a_condition():
    """The condition says which half of the rows have 10 added; the label is learned as before."""
    side = np.arange(240) % 2
    moved = X + 10 * side[:, None].astype(np.float32)
    both = model(epochs=30).fit(moved, SOME, condition=side)
    assert both.score(moved[24:], Y[24:], condition=side[24:]) > 0.8
    drawn = both.sample(200, label=1, condition=side[:200])
    gap = drawn[side[:200] == 1].mean(0) - drawn[side[:200] == 0].mean(0)
    np.testing.assert_allclose(gap, 10, atol=2.5)
    Z = both.transform(moved[:3], condition=side[:3])
    told = both.inverse_transform(Z, side[:3], label=both.predict(moved[:3], side[:3]))
    np.testing.assert_allclose(both.reconstruct(moved[:3], side[:3]), told, rtol=1e-5)
    with pytest.raises(LogvarError, match="fitted with a condition"):
        both.predict(moved)


INVALID = [
    ({}, np.full(240, -1), r"no known label in 240 rows"),
    ({}, np.where(Y == 0, 1, -1), r"one class, 1, in \d+ known labels \(−1 is an unknown label"),
    ({}, np.full(240, "a"), "one class, 'a', in 240 known labels: expected at least two"),
    ({}, None, "requires y to be passed, but the target y is None"),
    ({}, Y[:9], "inconsistent numbers of samples: 240"),
    ({}, X[:, 0], "Unknown label type: continuous"),
    ({"objective": "elbo"}, SOME, "objective 'elbo' is not defined for labels that are summed out"),
    ({"objective": "iwae(gradient=dreg)"}, SOME, "is not defined for labels that are summed out"),
    ({"objective": "labelled(free_bits=0.1)"}, SOME, "unknown setting .* 'free_bits'"),
    ({"encoder": abs, "decoder": abs}, SOME, "a classifier of their kind cannot be built"),
]


@pytest.mark.parametrize(("settings", "y", "message"), INVALID, ids=[m for *_, m in INVALID])
def test_invalid_input_is_one_clear_line(settings, y, message):
    with pytest.raises(LogvarError, match=message) as error:
        model(**settings).fit(X, y)
    assert "\n" not in str(error.value)


def test_labels_that_were_never_seen(fitted):
    for call in (fitted.sample, lambda n, label: fitted.inverse_transform(X[:n, :1], label=label)):
        with pytest.raises(LogvarError, match="label 7 is none of .* fitted on: 0, 1, 2"):
            call(2, label=7)
        with pytest.raises(LogvarError, match="has 3 entries, 0 of them unknown"):
            call(2, label=[0, 1, 2])
    with pytest.raises(LogvarError, match="cannot be combined with where or a sampler"):
        fitted.sample(2, label=1, where={"a": 1})
    with pytest.raises(LogvarError, match="learns a label, and there is none"):
        logvar.VAE(objective="labelled").fit(X)


def test_it_is_a_classifier_with_the_parameters_of_a_vae(fitted):
    expected = logvar.VAE().get_params() | {"objective": "labelled"}
    assert logvar.VAEClassifier().get_params() == expected
    assert clone(fitted).get_params() == fitted.get_params()
    assert repr(logvar.VAEClassifier(3, clip_norm=2.0)) == (
        "VAEClassifier(clip_norm=2.0, latent_dim=3)"
    )
    with pytest.raises(TypeError, match="unknown setting 'scales'"):
        logvar.VAEClassifier(scales="log-std")


@pytest.mark.parametrize(
    "check",
    ["check_estimators_unfitted", "check_supervised_y_no_nan", "check_classifiers_regression_target",
     "check_requires_y_none"],
)  # fmt: skip
def test_some_of_scikit_learns_checks(check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        getattr(estimator_checks, check)("VAEClassifier", model(epochs=2, likelihood="normal"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scikit_learns_own_checks():
    expected = {
        "check_sample_weight_equivalence_on_dense_data": "noise and order differ",
        "check_classifiers_classes": "−1 is an unknown label, as in sklearn.semi_supervised",
    }
    results = estimator_checks.check_estimator(
        model(epochs=6, likelihood="normal"), on_skip=None, expected_failed_checks=expected
    )
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == expected.keys()


@pytest.mark.slow
def test_on_100_labels_of_digits_it_beats_classifiers_of_those_labels_alone():
    """Three draws of ten labels of each digit; docs/labels.md has the figures of more."""
    X, y = load_digits(return_X_y=True)
    X, found = (X / 16).astype(np.float32), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        known = np.concatenate([rng.permutation(np.flatnonzero(y == k))[:10] for k in range(10)])
        some = np.full(len(y), -1)
        some[known] = y[known]
        settings = {"network": "mlp(hidden=[128])", "epochs": 100, "learning_rate": 3e-3}
        vae = logvar.VAEClassifier(likelihood="normal", validation_fraction=0, **settings)
        vae.set_params(random_state=seed).fit(X, some)
        alone = LogisticRegression(max_iter=1000).fit(X[known], y[known])
        found.append([m.score(X[some < 0], y[some < 0]) for m in (vae, alone)])
    gain = np.subtract(*np.transpose(found))
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain)) and gain.mean() > 0.02
