"""Scores of how well latents predict factors: DCI and SAP."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from logvar.evaluation.disentanglement.factors import Factor

TREES = 50
"""Trees of each random forest."""
_LEAF = 5


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, each at most 1."""

    disentanglement: float
    """Whether each latent is important for one factor only."""
    completeness: float
    """Whether each factor needs one latent only."""
    informativeness: float
    """How well factors are predicted on held-out rows: R² of numbers, accuracy of classes beyond
    the share of the most common one; 0 if no better than without latents."""


def dci(
    codes: Float[np.ndarray, "rows latents"],
    factors: list[Factor],
    train: Int[np.ndarray, "some"],
    test: Int[np.ndarray, "others"],
    seed: int,
) -> DCI:
    """Predict each factor by a random forest, and score how its importances are spread.

    With importances R (latents × factors): disentanglement is Σᵢ ρᵢ·(1 − H(Rᵢ·)/log K), ρᵢ the
    share of latent i in all importances; completeness is the same of the columns.

    Reference:
        Eastwood & Williams 2018 (ICLR), who use random forests; disentanglement_lib has
        gradient boosting.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    importances, informed = np.zeros((codes.shape[1], len(factors))), []
    for k, factor in enumerate(factors):
        is_real = factor.numbers is not None
        # Every split sees all latents: among few, useless ones would be split by otherwise.
        kind = RandomForestRegressor if is_real else RandomForestClassifier
        forest = kind(TREES, min_samples_leaf=_LEAF, max_features=None, random_state=seed)
        target = factor.numbers if factor.numbers is not None else factor.levels
        forest.fit(codes[train], target[train])
        importances[:, k] = forest.feature_importances_
        informed.append(_beyond_chance(forest.score(codes[test], target[test]), factor, test))
    return DCI(_one_each(importances), _one_each(importances.T), float(np.mean(informed)))


def _beyond_chance(score: float, factor: Factor, test: Int[np.ndarray, "others"]) -> float:
    if factor.numbers is not None:
        return max(score, 0.0)
    chance = np.bincount(factor.levels[test]).max() / len(test)
    return max((score - chance) / (1 - chance), 0.0) if chance < 1 else 0.0


def _one_each(importances: Float[np.ndarray, "of to"]) -> float:
    """Return the mean of 1 − entropy/log K of the rows, weighted by their sums."""
    sums = importances.sum(1)
    if not sums.sum() > 0:
        return 0.0
    shares = importances[sums > 0] / sums[sums > 0, None]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy = -(shares * logs).sum(1) / np.log(importances.shape[1]) if shares.shape[1] > 1 else 0.0
    return float(np.sum((1 - entropy) * sums[sums > 0]) / sums.sum())


def separated_attribute_predictability(
    codes: Float[np.ndarray, "rows latents"],
    factors: list[Factor],
    train: Int[np.ndarray, "some"],
    test: Int[np.ndarray, "others"],
) -> float:
    """SAP: the mean over factors of the best latent's score less that of the second best.

    The score of a latent is its squared correlation with a factor of numbers, and the accuracy of
    a linear classifier (a support vector machine, C = 0.01) for classes.

    Reference:
        Kumar et al. 2018 (arXiv 1711.00848), section 3.
    """
    scores = np.array([[_sap(z, f, train, test) for f in factors] for z in codes.T])
    ordered = np.sort(scores, axis=0)[::-1]
    second = ordered[1] if len(ordered) > 1 else np.zeros(len(factors))
    return float(np.mean(ordered[0] - second))


def _sap(code: np.ndarray, factor: Factor, train: np.ndarray, test: np.ndarray) -> float:
    spread = code.std()
    if not spread > 0:
        return 0.0
    if factor.numbers is not None:
        return float(np.corrcoef(code, factor.numbers)[0, 1] ** 2)
    from sklearn.svm import LinearSVC

    if len(np.unique(factor.levels[train])) < 2:
        return 0.0
    standardized = ((code - code.mean()) / spread)[:, None]
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    machine.fit(standardized[train], factor.levels[train])
    return float(machine.score(standardized[test], factor.levels[test]))
