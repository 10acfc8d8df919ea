"""A run that cannot go on says what broke, and why: checked against causes planted on purpose."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.data.sources import load
from tests.cases import slow

DIGITS = load("digits")
X = load_iris().data


def failure(X, **settings):
    vae = logvar.VAE(**({"latent_dim": 2, "network": "mlp(hidden=[16])", "epochs": 20} | settings))
    with pytest.raises(logvar.LogvarError) as error:
        vae.fit(X)
    weights = eqx.filter(vae.model_, eqx.is_inexact_array)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights))
    return vae.diagnosis_, str(error.value)


def test_an_exploding_raw_output_is_named_with_its_safe_range():
    diagnosis, text = failure(
        DIGITS.train, scale="log-std", learning_rate=0.3, network="mlp(hidden=[256, 128])"
    )
    assert "raw outputs beyond where σ² of log-std overflows" in diagnosis.cause
    assert diagnosis.raw_range[1] > diagnosis.safe_range[1] == pytest.approx(44.36, abs=0.01)
    assert "clamped(log-std" in text and "was not taken" in text


def test_a_bad_row_is_named_by_its_number():
    rows = np.tile(X, (200, 1))  # one row among n can lie √n standard deviations out, not more
    rows[777, 2] = 1e30
    diagnosis, _ = failure(
        rows, scale="log-std", network="mlp(initialization=he)", validation_fraction=0.0,
        batch_size=1024,
    )  # fmt: skip
    assert "bad data: row 777, feature 2 lies 173 standard deviations" in diagnosis.cause
    assert "student-t" in diagnosis.remedy


@pytest.mark.parametrize("scale", ["softplus", "scvi"])  # scvi's floor is a field of the scale
def test_a_huge_learning_rate_is_named(scale):
    diagnosis, text = failure(DIGITS.train, scale=scale, optimizer="sgd", learning_rate=1e4)
    assert "learning rate" in diagnosis.cause
    assert "a learning rate below 10000" in text


def test_a_noise_that_falls_to_zero_is_named():
    """A constant table is reproduced exactly; without a floor σ falls until the density overflows."""
    rows = np.zeros((64, 3))
    diagnosis, _ = failure(
        rows, learning_rate=0.3, epochs=3000, patience=0, optimizer="adam",
        likelihood="normal(sigma=1e-15, floor=0)",
    )  # fmt: skip
    assert "the observation noise fell to σ" in diagnosis.cause
    assert "normal(floor=1e-3)" in diagnosis.remedy


# `python -m tests.crash.divergence` has every scale, at five rates and with two optimizers.
@pytest.mark.parametrize("name", [slow("log-variance"), "log-std", "softplus", slow("stdplus")])
def test_a_scale_trains_at_a_large_learning_rate_or_says_why_not(name):
    vae = logvar.VAE(
        latent_dim=2, scale=name, learning_rate=0.1, epochs=2, network="mlp(hidden=[64])"
    )
    try:
        vae.fit(DIGITS.train[:640])
    except logvar.LogvarError as error:
        text = str(error)
        assert "Likely cause:" in text and "Remedy:" in text
        assert jnp.isfinite(jnp.asarray(vae.diagnosis_.raw_range)).all()
    else:
        assert vae.ended_ == "finished"
        assert np.isfinite(vae.history_[-1]["train"]["elbo"])
