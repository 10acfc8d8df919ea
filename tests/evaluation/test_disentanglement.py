"""Scores of disentanglement: exact small cases by hand, and perfect, random and rotated codes."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score

import logvar
from logvar.evaluation.disentanglement.factors import read_factors
from logvar.evaluation.disentanglement.information import (
    information_matrix,
    modularity,
    mutual_information_gap,
)
from logvar.evaluation.disentanglement.prediction import _one_each

RNG = np.random.default_rng(0)
FACTORS = {
    "kind": np.array(["a", "b", "c"])[RNG.integers(3, size=1000)],
    "level": RNG.integers(6, size=1000),
    "number": RNG.uniform(size=1000),
}
NUMBERS = np.column_stack(
    [(FACTORS["kind"][:, None] == ["a", "b", "c"]) @ [0, 1, 2], FACTORS["level"], FACTORS["number"]]
).astype(float)
PERFECT = NUMBERS[:, [2, 0, 1]] * [-0.01, 100, 3] + [5, 0, -2]


@pytest.fixture(scope="module")
def perfect():
    return logvar.disentanglement(PERFECT, FACTORS)


def test_perfect_codes_score_one(perfect):
    assert perfect.factors == ["kind", "level", "number"] and perfect.latents == 3
    for name in ("mig", "modularity", "dci_disentanglement", "dci_completeness"):
        assert perfect[name] == pytest.approx(1, abs=0.05), name
    assert perfect["dci_informativeness"] > 0.99
    assert perfect["factor_vae_score"] > 0.99 and perfect["beta_vae_score"] > 0.99
    assert "dci_completeness" in str(perfect)


def test_random_codes_score_none():
    found = logvar.disentanglement(np.random.default_rng(1).normal(size=(1000, 3)), FACTORS)
    for name in ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "sap"):
        assert 0 <= found[name] < 0.08, name
    assert found["factor_vae_score"] < 0.6


def test_rotated_codes_score_less(perfect):
    standardized = (PERFECT - PERFECT.mean(0)) / PERFECT.std(0)
    turned = standardized @ stats.ortho_group.rvs(3, random_state=2)
    found = logvar.disentanglement(turned, FACTORS)
    for name in ("mig", "modularity", "dci_disentanglement", "dci_completeness", "sap"):
        assert found[name] < perfect[name] - 0.15, name
    assert found["dci_informativeness"] > 0.5  # the factors are still there


def test_mutual_information_is_that_of_scikit_learn():
    factors = read_factors(FACTORS, 1000)
    noisy = NUMBERS + np.random.default_rng(3).normal(size=(1000, 3)) * 0.5
    found = information_matrix(noisy, factors)
    edges = np.linspace(noisy[:, 1].min(), noisy[:, 1].max(), 21)[1:-1]
    expected = mutual_info_score(np.digitize(noisy[:, 1], edges), factors[0].levels)
    assert found[1, 0] == pytest.approx(expected, rel=1e-9)


def test_mig_and_modularity_by_hand():
    four = read_factors(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), 4)
    log2 = np.log(2)
    both = np.array([[log2, 0.0], [log2 / 2, log2 / 4], [0.0, 0.0]])
    # The gaps are ½ and ¼ of log 2.
    assert mutual_information_gap(both, four) == pytest.approx(0.375)
    # 1, 1 − ¼, and 0 for the latent that tells nothing.
    assert modularity(both) == pytest.approx((1 + 0.75 + 0) / 3)


def test_dci_spread_by_hand():
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2)
    importances = np.array([[0.6, 0.2], [0.0, 0.4]])
    assert _one_each(importances) == pytest.approx(((1 - entropy) * 0.8 + 0.4) / 1.2)
    assert _one_each(np.ones((3, 4))) == pytest.approx(0)


def test_sap_by_hand():
    """Of numbers: squared correlations 1 and ½ with one factor, and the like with the other."""
    a, b = np.random.default_rng(4).normal(size=(2, 4000))
    factors = np.round(np.column_stack([a, b]), 1)
    found = logvar.disentanglement(np.column_stack([factors[:, 0], factors.sum(1)]), factors)
    correlations = np.corrcoef(np.column_stack([factors, factors.sum(1)]).T) ** 2
    expected = [1 - correlations[2, 0], correlations[2, 1] - correlations[0, 1]]
    assert found["sap"] == pytest.approx(np.mean(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros((30, 2)), np.zeros((30, 2)), "0 of 2 factors vary"),
        (np.zeros((30, 2)), np.zeros((29, 2)), "has 29 rows and the codes 30"),
        (np.zeros((10, 2)), np.zeros((10, 2)), "at least 20 rows"),
        (np.full((30, 2), np.nan), np.zeros((30, 2)), "not finite"),
        (np.zeros((30, 2)), np.full((30, 2), np.nan), "is nan in row 0"),
        (np.zeros((30, 2)), np.zeros(30), "expected .rows, factors."),
        (np.zeros((30, 2)), np.tile(np.arange(30), (2, 1)).T, "another value in each row"),
    ],
)
def test_bad_input_is_refused_in_one_line(codes, factors, message):
    with pytest.raises(logvar.LogvarError, match=message):
        logvar.disentanglement(codes, factors)
