"""scikit-learn's protocol without its base class; `check_estimator` runs in test_estimator.py."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import logvar
from logvar.errors import LogvarError

FRAME = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"), index=range(100, 140)
)
QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 1}


@pytest.fixture(scope="module")
def fitted():
    return logvar.VAE(**QUICK).fit(FRAME)


def test_fitting_and_transforming_an_array_imports_no_scikit_learn():
    code = (
        "import sys, numpy as np, logvar;"
        "vae = logvar.VAE(latent_dim=1, hidden=(4,), epochs=1);"
        "vae.fit_transform(np.random.default_rng(0).normal(size=(20, 2)));"
        "print(sorted({'sklearn', 'scipy.stats', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parameters_by_name():
    vae = logvar.VAE(3, beta=2.0)
    assert vae.get_params()["latent_dim"] == 3
    assert vae.set_params(beta=4.0, scale="softplus") is vae
    assert (vae.beta, vae.scale) == (4.0, "softplus")
    with pytest.raises(LogvarError, match=r"Invalid parameter 'gamma' for estimator VAE: .*beta"):
        vae.set_params(**{"beta": 9.0, "gamma": 1.0})
    assert vae.beta == 4.0  # nothing was set
    assert clone(vae).get_params() == vae.get_params()


class Nested:
    """An argument with parameters of its own."""

    def __init__(self, width=1):
        self.width = width

    def get_params(self, deep=True):
        return {"width": self.width}

    def set_params(self, width):
        self.width = width


def test_parameters_of_an_argument():
    vae = logvar.VAE(encoder=Nested())
    assert vae.get_params()["encoder__width"] == 1
    assert "encoder__width" not in vae.get_params(deep=False)
    assert vae.set_params(encoder__width=5).encoder.width == 5


def test_it_prints_what_was_changed(fitted):
    assert repr(logvar.VAE()) == "VAE()"
    assert repr(logvar.VAE(3, beta=2.0)) == "VAE(beta=2.0, latent_dim=3)"
    page = make_pipeline(fitted)._repr_html_() + fitted._repr_html_()
    assert page.count("VAE") > 2 and "<div" in page


def test_what_scikit_learn_asks_of_it(fitted):
    tags = get_tags(fitted)
    assert tags.input_tags.three_d_array and not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == ["float32"]
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        logvar.VAE().transform(FRAME)
    with pytest.raises(NotFittedError):
        logvar.VAE().get_feature_names_out()


def test_columns_are_remembered_and_held_to(fitted):
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(FRAME[["b", "a", "c"]])
    again = clone(fitted).fit(FRAME)
    again.fit(FRAME.to_numpy())
    assert not hasattr(again, "feature_names_in_")


def test_names_of_the_latents(fitted):
    assert list(fitted.get_feature_names_out()) == ["vae0", "vae1"]
    assert list(fitted.get_feature_names_out(["a", "b", "c"])) == ["vae0", "vae1"]
    with pytest.raises(LogvarError, match="equal to feature_names_in_"):
        fitted.get_feature_names_out(["a", "c", "b"])
    plain = logvar.VAE(**QUICK).fit(FRAME.to_numpy())
    with pytest.raises(LogvarError, match=r"\(3\), got 2"):
        plain.get_feature_names_out(["a", "b"])


def test_containers(fitted):
    vae = clone(fitted).fit(FRAME)
    values = vae.transform(FRAME)
    assert type(values) is np.ndarray
    assert vae.set_output(transform=None) is vae
    assert type(vae.transform(FRAME)) is np.ndarray
    with sklearn.config_context(transform_output="pandas"):
        everywhere = vae.transform(FRAME)
        vae.set_output(transform="default")
        assert type(vae.transform(FRAME)) is np.ndarray
    asked = vae.set_output(transform="pandas").transform(FRAME)
    for frame in (everywhere, asked):
        pd.testing.assert_frame_equal(
            frame, pd.DataFrame(values, columns=["vae0", "vae1"], index=FRAME.index)
        )
    assert type(clone(vae).fit(FRAME).transform(FRAME)) is pd.DataFrame
    np.testing.assert_array_equal(vae.reconstruct(FRAME), fitted.reconstruct(FRAME))
    with pytest.raises(LogvarError, match="'spark': expected default, pandas, polars"):
        vae.set_output(transform="spark")
