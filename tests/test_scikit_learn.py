"""What `VAE` has from scikit-learn's base classes; `check_estimator` runs in test_estimator.py."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import logvar

FRAME = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"), index=range(100, 140)
)
QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 1}


@pytest.fixture(scope="module")
def fitted():
    return logvar.VAE(**QUICK).fit(FRAME)


def test_it_is_an_estimator_and_a_transformer(fitted):
    assert isinstance(fitted, BaseEstimator) and isinstance(fitted, TransformerMixin)
    # Mixins stand before BaseEstimator, whose defaults they refine.
    assert issubclass(logvar.VAE, BaseEstimator) and logvar.VAE.__bases__[-1] is BaseEstimator


def test_parameters_by_name():
    vae = logvar.VAE(3, clip_norm=2.0)
    assert vae.get_params()["latent_dim"] == 3
    assert vae.set_params(clip_norm=4.0, scale="softplus") is vae
    assert (vae.clip_norm, vae.scale) == (4.0, "softplus")
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'gamma' for estimator VAE.*'clip_norm'"
    ):
        vae.set_params(**{"gamma": 1.0, "clip_norm": 9.0})
    assert vae.clip_norm == 4.0  # nothing was set
    assert clone(vae).get_params() == vae.get_params()


class Nested(BaseEstimator):
    """An argument with parameters of its own."""

    def __init__(self, width=1):
        self.width = width


def test_parameters_of_an_argument():
    vae = logvar.VAE(encoder=Nested())
    assert vae.get_params()["encoder__width"] == 1
    assert "encoder__width" not in vae.get_params(deep=False)
    assert vae.set_params(encoder__width=5).encoder.width == 5
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'depth' for estimator Nested.*'width'"
    ):
        vae.set_params(encoder__depth=2)
    with pytest.raises(ValueError, match="Invalid parameter 'coder' for estimator VAE"):
        vae.set_params(coder__width=2)


def test_metadata_is_routed():
    """Each argument of `fit` but X and y can be asked for; Z of `inverse_transform` is data."""
    routing = logvar.VAE().get_metadata_routing()
    assert {"validation_data", "checkpoints", "resume"} <= routing.fit.requests.keys()
    assert routing.inverse_transform.requests.keys() == {"condition"}
    X = FRAME.to_numpy()
    with sklearn.config_context(enable_metadata_routing=True):
        vae = logvar.VAE(**QUICK).set_fit_request(validation_data=True)
        pipeline = make_pipeline(StandardScaler(), vae).fit(X[:30], validation_data=X[30:])
    assert pipeline[-1].data_["rows"] == 30


def test_it_prints_what_was_changed(fitted):
    assert repr(logvar.VAE()) == "VAE()"
    assert repr(logvar.VAE(3, clip_norm=2.0)) == "VAE(clip_norm=2.0, latent_dim=3)"
    page = make_pipeline(fitted)._repr_html_() + fitted._repr_html_()
    assert page.count("VAE") > 2 and "<div" in page
    assert "latent_dim" in fitted._repr_html_()  # the diagram lists the parameters


def test_what_scikit_learn_asks_of_it(fitted):
    tags = get_tags(fitted)
    assert tags.input_tags.three_d_array and not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == ["float32"]
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        logvar.VAE().transform(FRAME)
    with pytest.raises(NotFittedError):
        logvar.VAE().get_feature_names_out()


def test_columns_are_remembered_and_matched_by_name(fitted):
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(fitted.transform(FRAME[["b", "a", "c"]]), fitted.transform(FRAME))
    with pytest.raises(ValueError, match="'c'"):
        fitted.transform(FRAME[["a", "b"]])
    again = clone(fitted).fit(FRAME)
    again.fit(FRAME.to_numpy())
    assert not hasattr(again, "feature_names_in_")


def test_a_loaded_one_remembers_the_columns(fitted, tmp_path):
    again = logvar.load(fitted.save(tmp_path / "run"))
    assert list(again.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="equal to feature_names_in_"):
        again.get_feature_names_out(["a", "c", "b"])


def test_names_of_the_latents(fitted):
    assert list(fitted.get_feature_names_out()) == ["vae0", "vae1"]
    assert list(fitted.get_feature_names_out(["a", "b", "c"])) == ["vae0", "vae1"]
    with pytest.raises(ValueError, match="equal to feature_names_in_"):
        fitted.get_feature_names_out(["a", "c", "b"])
    plain = logvar.VAE(**QUICK).fit(FRAME.to_numpy())
    with pytest.raises(ValueError, match=r"\(3\), got 2"):
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
    with pytest.raises(ValueError, match=r"\['default', 'pandas', 'polars'\], got spark"):
        vae.set_output(transform="spark").transform(FRAME)
