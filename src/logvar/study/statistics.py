"""The statistics of paired comparisons, on SciPy.

One interval decides everything. With K comparisons its level is 1 − α/K (Bonferroni), so all of
them hold together with probability 1 − α. If it excludes 0, there is a difference. If it lies
within ±margin, the two are equivalent: these are the two one-sided tests of Schuirmann (1987) at
α/2K, which is conservative.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

POWER = 0.8
MOST_SEEDS = 10_000
_CERTAIN = 1e4  # standard errors; beyond, the noncentral t cannot be computed and is not needed

Differences = Float[np.ndarray, "pairs"]


class Interval(NamedTuple):
    """A mean difference with its simultaneous confidence interval."""

    mean: float
    low: float
    high: float
    n: int

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def within(self, margin: float) -> bool:
        return -margin < self.low and self.high < margin


def paired_interval(differences: Differences, alpha: float) -> Interval:
    """Return Student's t interval of the mean of paired differences, at level 1 − alpha.

    Needs at least two differences; if all are equal, the interval has width 0.
    """
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, len(values))
    found = stats.ttest_1samp(values, 0.0).confidence_interval(1 - alpha)
    return Interval(mean, float(found.low), float(found.high), len(values))


def resampled_interval(by_split: Differences, alpha: float, test_to_train: float) -> Interval:
    """Return the interval over random splits of one data set, whose training sets overlap.

    The variance of the mean is s²·(1/K + n_test/n_train) instead of s²/K (Nadeau & Bengio 2003,
    Machine Learning 52), because differences on overlapping sets are not independent.
    """
    values = np.asarray(by_split, np.float64)
    k, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) * math.sqrt(1 / k + test_to_train)
    reach = float(stats.t.ppf(1 - alpha / 2, k - 1)) * spread
    return Interval(mean, mean - reach, mean + reach, k)


def failures_differ(ours: np.ndarray, theirs: np.ndarray, alpha: float) -> bool:
    """Return whether McNemar's exact test on paired failures finds a difference."""
    only_ours, only_theirs = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    if only_ours + only_theirs == 0:
        return False
    return bool(stats.binomtest(only_ours, only_ours + only_theirs).pvalue < alpha)


def proportion_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion."""
    found = stats.binomtest(count, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def seeds_to_settle(mean: float, spread: float, margin: float, alpha: float) -> int | None:
    """Return how many seeds settle an open case with probability 0.8, if the estimates are true.

    A case is settled if the interval excludes 0 or lies within the margin, whichever needs fewer
    seeds. None if more than 10,000 would be needed.

    Args:
        mean: the observed mean difference.
        spread: the standard deviation of the paired differences.
        margin: the margin of equivalence.
        alpha: 1 minus the level of the interval.
    """
    # Power grows with n: find the smallest sufficient n by bisection.
    low, high = 2, MOST_SEEDS
    if _power(mean, spread, margin, alpha, high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if _power(mean, spread, margin, alpha, middle) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


def _power(mean: float, spread: float, margin: float, alpha: float, n: int) -> float:
    """Return the larger of the powers to show a difference and to show equivalence, n pairs."""
    error = spread / math.sqrt(n)
    if error == 0:
        return 1.0
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))
    # Noncentral t; the usual approximation to the power of two one-sided tests.
    shift = abs(mean) / error
    difference = 1.0 if shift > _CERTAIN else float(stats.nct.sf(critical, n - 1, shift))
    above = float(stats.nct.cdf(-critical, n - 1, (mean - margin) / error))
    below = float(stats.nct.cdf(critical, n - 1, (mean + margin) / error))
    return float(np.nanmax([difference, above - below, 0.0]))
