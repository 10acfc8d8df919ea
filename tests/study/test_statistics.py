"""Intervals, equivalence, power and failures, against SciPy, simulation and known values."""

import math

import numpy as np
import pytest
from scipy import stats

from logvar.study.statistics import (
    failures_differ,
    paired_interval,
    proportion_interval,
    resampled_interval,
    seeds_to_settle,
)

RNG = np.random.default_rng(0)


def test_the_interval_is_students_t():
    d = RNG.normal(0.3, 1, 12)
    found = paired_interval(d, 0.05)
    low, high = stats.t.interval(0.95, 11, d.mean(), stats.sem(d))
    assert (found.mean, found.low, found.high) == pytest.approx((d.mean(), low, high))
    assert found.n == 12


def test_the_interval_covers_as_often_as_it_says():
    covered = sum(
        interval.low < 0.5 < interval.high
        for interval in (paired_interval(RNG.normal(0.5, 2, 6), 0.1) for _ in range(2000))
    )
    low, high = stats.binomtest(covered, 2000).proportion_ci(0.999)
    assert low < 0.9 < high


def test_differences_that_are_all_zero_give_an_interval_of_width_zero():
    found = paired_interval(np.zeros(5), 0.05)
    assert found.low == found.high == 0 and found.within(1e-9) and not found.excludes_zero()


def test_equivalence_is_the_two_one_sided_tests():
    """Within the margin at level 1 − α exactly when both one-sided p values are below α/2."""
    for _ in range(200):
        d = RNG.normal(RNG.normal(0, 0.1), 0.3, 10)
        above = stats.ttest_1samp(d, -0.2, alternative="greater").pvalue
        below = stats.ttest_1samp(d, 0.2, alternative="less").pvalue
        assert paired_interval(d, 0.1).within(0.2) == (max(above, below) < 0.05)


def test_the_corrected_interval_is_that_of_nadeau_and_bengio():
    d = np.array([0.1, 0.3, -0.1, 0.2])
    found = resampled_interval(d, 0.05, 0.25)
    reach = stats.t.ppf(0.975, 3) * math.sqrt(d.var(ddof=1) * (1 / 4 + 0.25))
    assert (found.low, found.high) == pytest.approx((d.mean() - reach, d.mean() + reach))


def test_overlapping_splits_do_not_call_differences_too_often():
    """Random splits of one data set without any difference between two 'scales'."""
    called = 0
    for _ in range(400):
        rows = RNG.normal(0, 1, (80, 2))
        by_split = []
        for _ in range(5):
            order = RNG.permutation(80)
            train, test = rows[order[20:]], rows[order[:20]]
            # Each side's score depends on its training rows and on the test rows.
            ours, theirs = ((train[:, i].mean() - test[:, i]).mean() for i in (0, 1))
            by_split.append(ours - theirs)
        called += resampled_interval(np.array(by_split), 0.05, 20 / 60).excludes_zero()
    assert stats.binomtest(called, 400, 0.05, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(("mean", "spread"), [(0.5, 0.6), (0.02, 0.15)])
def test_so_many_seeds_settle_it(mean, spread):
    """Simulated: about 80 % of studies of that size are settled, and clearly fewer of half of it."""
    n = seeds_to_settle(mean, spread, 0.2, 0.05)

    def settled(n):
        intervals = [paired_interval(RNG.normal(mean, spread, n), 0.05) for _ in range(1500)]
        return np.mean([i.excludes_zero() or i.within(0.2) for i in intervals])

    assert 0.74 < settled(n) < 0.93
    assert settled(max(2, n // 2)) < 0.7


def test_a_difference_at_the_margin_needs_a_difference_to_be_shown():
    assert seeds_to_settle(0.2, 1e-9, 0.2, 0.05) == 2
    assert seeds_to_settle(1e-4, 5.0, 1e-3, 0.05) is None


def test_failures_are_compared_in_pairs():
    one = np.array([True] * 8 + [False] * 2)
    none = np.zeros(10, bool)
    assert failures_differ(one, none, 0.05) and not failures_differ(one, one, 0.05)
    assert not failures_differ(one, none, 0.001)
    assert not failures_differ(none, none, 0.05)


def test_wilson():
    # Wilson 1927: (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n).
    z, n, p = 1.959964, 200, 0.05
    middle, reach = p + z * z / 400, z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = ((middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n))
    assert proportion_interval(10, 200) == pytest.approx(expected, rel=1e-4)
