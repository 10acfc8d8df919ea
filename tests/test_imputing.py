"""Rows with holes through the estimator: fitting, completing, explaining, and what is refused."""

import numpy as np
import pytest

import logvar

SETTINGS = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 2, "likelihood": "normal"}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4))
    X[rng.random(X.shape) < 0.2] = np.nan
    return X


@pytest.fixture(scope="module")
def vae(rows):
    return logvar.VAE(**SETTINGS).fit(rows)


def test_nan_is_a_missing_cell_and_so_is_a_masked_one(vae, rows):
    assert vae.model_.missing and vae.decisions_.missing
    np.testing.assert_array_equal(vae.transform(np.ma.masked_invalid(rows)), vae.transform(rows))


def test_observed_cells_come_back_and_missing_ones_are_filled(vae, rows):
    found = vae.imputation(rows, n_samples=50, draws=2)
    for filled in (found.filled, *found.draws):
        assert np.isfinite(filled).all() and (filled == rows)[~np.isnan(rows)].all()
    assert (found.draws[0] != found.draws[1])[np.isnan(rows)].all()
    complete = ~np.isnan(rows).any(1)
    np.testing.assert_array_equal(np.isnan(found.effective_samples), complete)
    assert np.nanmax(found.effective_samples) <= 50 and np.nanmin(found.effective_samples) >= 1


def test_a_row_is_completed_alike_whatever_the_rows_beside_it_are(vae, rows):
    np.testing.assert_array_equal(
        vae.imputation(rows[7:9], n_samples=50, draws=2).filled,
        vae.imputation(rows, n_samples=50, draws=2).filled[7:9],
    )


def test_a_column_or_an_input_without_any_value_is_refused_in_one_line(vae, rows):
    with pytest.raises(
        logvar.LogvarError, match="no value in the .* training rows in column 2: drop it"
    ):
        logvar.VAE(**SETTINGS).fit(np.where(np.arange(4) == 2, np.nan, rows))
    with pytest.raises(logvar.LogvarError, match="uint8, which has no missing cells"):
        vae.impute(np.ones((2, 4), np.uint8))
    with pytest.raises(logvar.LogvarError, match="infinity at row 0, column 2"):
        vae.score_samples(np.where(np.eye(3, 4, 2) > 0, np.inf, rows[:3]))
