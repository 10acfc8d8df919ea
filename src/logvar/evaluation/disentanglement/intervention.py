"""Scores of what stays the same in latents while one factor is fixed: FactorVAE and β-VAE."""

import numpy as np
from jaxtyping import Float, Int

from logvar.errors import LogvarError
from logvar.evaluation.disentanglement.factors import Factor

BATCH = 64
"""Rows with a factor in common, in one vote."""
VOTES = 1000
"""Votes to learn from, and half as many to score."""


class _Groups:
    """Rows by the levels of a factor; levels of a single row are left out."""

    def __init__(self, factor: Factor):
        order = np.argsort(factor.levels, kind="stable")
        counts = np.bincount(factor.levels)
        self.rows = order
        self.sizes = counts[counts > 1]
        self.starts = (np.cumsum(counts) - counts)[counts > 1]
        if not len(self.sizes):
            raise LogvarError(
                f"factor {factor.name!r} has another value in each row: expected rows that share "
                "one; give levels, or more rows"
            )

    def draw(self, rng: np.random.Generator, batches: int, n: int) -> Int[np.ndarray, "batches n"]:
        """Draw batches of rows, with replacement; the rows of each share a level."""
        chosen = rng.integers(len(self.sizes), size=batches)
        within = (rng.random((batches, n)) * self.sizes[chosen, None]).astype(np.int64)
        return self.rows[self.starts[chosen, None] + within]


def factor_vae_score(
    codes: Float[np.ndarray, "rows latents"], factors: list[Factor], rng: np.random.Generator
) -> float:
    """The accuracy of telling which factor is fixed from the latent that varies least.

    A vote fixes a factor, chosen at random, to one of its values, draws 64 rows that have it, and
    finds the latent with the least variance relative to that over all rows. A majority vote maps
    latents to factors; chance is about 1/factors. Constant latents have no vote.

    Reference:
        Kim & Mnih 2018 (arXiv 1802.05983), section 4.
    """
    spread = codes.var(0)
    active = spread > 1e-12 * max(float(spread.max()), 1e-300)
    if not active.any():
        return 0.0
    relative = codes[:, active] / np.sqrt(spread[active])
    groups = [_Groups(factor) for factor in factors]

    def votes(n: int) -> Int[np.ndarray, "latents factors"]:
        counts = np.zeros((relative.shape[1], len(factors)), np.int64)
        for k in rng.integers(len(factors), size=n):
            rows = groups[k].draw(rng, 1, BATCH)[0]
            counts[np.argmin(relative[rows].var(0)), k] += 1
        return counts

    chosen = votes(VOTES).argmax(1)
    test = votes(VOTES // 2)
    return float(test[np.arange(len(test)), chosen].sum() / test.sum())


def beta_vae_score(
    codes: Float[np.ndarray, "rows latents"], factors: list[Factor], rng: np.random.Generator
) -> float:
    """The accuracy of telling which factor pairs of rows share from their mean |z − z′|.

    Each point is the mean over 64 pairs; a logistic regression is fitted to 1,000 points and scored
    on 500; chance is about 1/factors. Latents are standardized first.

    Reference:
        Higgins et al. 2017 (ICLR), section 3.
    """
    from sklearn.linear_model import LogisticRegression

    spread = codes.std(0)
    standardized = codes / np.where(spread > 0, spread, 1.0)
    groups = [_Groups(factor) for factor in factors]
    labels = rng.integers(len(factors), size=VOTES + VOTES // 2)
    labels[: len(factors)] = np.arange(len(factors))
    points = np.empty((len(labels), codes.shape[1]))
    for i, k in enumerate(labels):
        pairs = groups[k].draw(rng, BATCH, 2)
        points[i] = np.abs(standardized[pairs[:, 0]] - standardized[pairs[:, 1]]).mean(0)
    regression = LogisticRegression(C=1e3, max_iter=1000).fit(points[:VOTES], labels[:VOTES])
    return float(regression.score(points[VOTES:], labels[VOTES:]))
