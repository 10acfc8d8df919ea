"""`logvar.pyod.VAE` under PyOD's contract; skipped where PyOD is not installed."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

QUICK = {"latent_dim": 2, "network": "mlp(hidden=[16])", "steps": 300, "n_samples": 20}
there = importlib.util.find_spec("pyod") is not None
needs_pyod = pytest.mark.skipif(not there, reason="PyOD is not installed: pip install pyod")


def test_without_pyod_it_says_what_to_install():
    code = (
        "import sys; sys.modules['pyod'] = None\n"
        "import logvar\n"
        "try: logvar.pyod\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("logvar.pyod needs PyOD") and "pip install pyod" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.fixture(scope="module")
def rows():
    from pyod.utils.data import generate_data

    return generate_data(n_train=200, n_test=100, n_features=4, contamination=0.1, random_state=42)


@pytest.fixture(scope="module")
def detector(rows):
    import logvar

    return logvar.pyod.VAE(contamination=0.1, **QUICK).fit(rows[0])


@needs_pyod
def test_scores_and_labels_of_the_training_rows(detector, rows):
    assert detector.decision_scores_.shape == (200,)
    assert detector.labels_.sum() == 20
    assert (detector.labels_ == (detector.decision_scores_ > detector.threshold_)).all()
    assert detector._mu is not None and detector._sigma > 0
    np.testing.assert_array_equal(detector.decision_function(rows[0]), detector.decision_scores_)


@needs_pyod
def test_new_rows(detector, rows):
    _, test, _, anomalous = rows
    scores = detector.decision_function(test)
    assert roc_auc_score(anomalous, scores) > 0.9  # high is odd
    np.testing.assert_array_equal(scores, detector.decision_function(test))
    np.testing.assert_array_equal(scores[3:5], detector.decision_function(test[3:5]))
    predicted, confidence = detector.predict(test, return_confidence=True)
    assert set(predicted) == {0, 1} and confidence.min() >= 0 and confidence.max() <= 1
    for method in ("linear", "unify"):
        share = detector.predict_proba(test, method=method)
        assert share.shape == (100, 2) and share.min() >= 0 and share.max() <= 1
    with pytest.raises(ValueError):
        detector.predict_proba(test, method="something")
    assert detector._predict_rank(test, normalized=True).max() == 1
    assert detector.detector_.explain(test[:1])[0]


@needs_pyod
def test_settings(detector):
    import logvar

    assert detector.get_params()["contamination"] == 0.1
    own = logvar.OutlierVAE().get_params()
    del own["contamination"]
    assert logvar.pyod.VAE().get_params() == own | {"contamination": 0.1}
    assert clone(detector).get_params() == detector.get_params()
    with pytest.raises(ValueError, match="contamination"):
        logvar.pyod.VAE(contamination=0.6)


@needs_pyod
def test_its_detector_has_the_same_threshold_and_can_be_saved(detector, rows, tmp_path):
    import logvar

    assert detector.detector_.offset_ == pytest.approx(-detector.threshold_)
    again = logvar.load(detector.detector_.save(tmp_path / "run"))
    for test in rows[:2]:
        np.testing.assert_array_equal(again.predict(test) == -1, detector.predict(test) == 1)


@needs_pyod
@pytest.mark.parametrize(
    "share", [0.9, 0, float("nan"), True, "auto", "0.1", None, np.float32(0.1)]
)
def test_a_contamination_that_pyod_cannot_use_is_refused_before_training(share, rows):
    import logvar

    detector = logvar.pyod.VAE(**QUICK)
    detector.set_params(contamination=share)  # PyOD looks only at those of the constructor
    with pytest.raises(logvar.LogvarError, match="^contamination is .*: .*expect.*0.5"):
        detector.fit(rows[0])
    assert not hasattr(detector, "detector_")


class Fence:
    """A thresholding object, with all that PyOD asks of those of PyThresh."""

    def fit(self, scores):
        self.thresh_ = np.quantile(scores, 0.8)
        self.labels_ = self.predict(scores)

    def predict(self, scores):
        return (scores > self.thresh_).astype(int)


@needs_pyod
def test_an_object_finds_the_threshold(rows):
    import logvar

    detector = logvar.pyod.VAE(contamination=Fence(), **QUICK | {"steps": 20}).fit(rows[0])
    assert detector.labels_.sum() == 40
    np.testing.assert_array_equal(detector.predict(rows[0]), detector.labels_)
