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
    with pytest.raises(logvar.LogvarError, match="no value in any of .* rows in column 2: drop it"):
        logvar.VAE(**SETTINGS).fit(np.where(np.arange(4) == 2, np.nan, rows))
    with pytest.raises(logvar.LogvarError, match="uint8, which has no missing cells"):
        vae.impute(np.ones((2, 4), np.uint8))
    with pytest.raises(logvar.LogvarError, match="infinity at row 0, column 2"):
        vae.score_samples(np.where(np.eye(3, 4, 2) > 0, np.inf, rows[:3]))


@pytest.fixture(scope="module")
def line():
    """A model with one latent and known noise, so that its posterior is an integral over a grid."""
    X = np.random.default_rng(1).uniform(-1, 1, (200, 1)) * [1.0, 2.0, -1.0]
    X[np.random.default_rng(2).random(X.shape) < 0.3] = np.nan
    return logvar.VAE(
        1, epochs=60, learning_rate=0.01, network="mlp(hidden=[16])", patience=0,
        likelihood="normal(noise=fixed, sigma=1)",
    ).fit(X)  # fmt: skip


def test_holes_beside_a_cell_far_out_are_filled_by_that_cell_itself(line):
    """The encoder reads it clipped, at 3; the weights of its draws are those of 4.5."""
    X = np.array([[0.5, np.nan, 0.0], [9.0, 0.0, 0.0], [4.5, np.nan, 0.0]])
    with pytest.warns(logvar.errors.OutsideTrainingRange, match=r"1 of 3 rows .*first is row 2:"):
        found = line.imputation(X, 20_000, draws=2)
    z = np.linspace(-9, 9, 2001)
    means = line.inverse_transform(z[:, None].astype(np.float32)).astype(np.float64)

    def expected(row):
        off = ((means - row) / line.fitted_.units.factor)[:, [0, 2]]
        log_weight = -0.5 * (off**2).sum(1) - 0.5 * z**2
        weight = np.exp(log_weight - log_weight.max())
        return weight @ means[:, 1] / weight.sum()

    for row in (0, 2):
        assert found.filled[row, 1] == pytest.approx(expected(X[row]), abs=0.06)
    assert abs(expected(X[2]) - expected(np.clip(X[2], -3, 3))) > 0.15  # or it would not show
    assert found.draws[0][2, 1] != found.draws[1][2, 1]
    np.testing.assert_array_equal(found.filled[1], X[1])


def test_a_row_so_far_out_that_float32_ends_is_filled(line):
    with pytest.warns(logvar.errors.OutsideTrainingRange):
        found = line.imputation([[1e25, np.nan, 0.0]], 50, draws=1)
    assert np.isfinite(found.filled).all() and np.isfinite(found.draws[0]).all()
    assert 1 <= found.effective_samples[0] <= 50
