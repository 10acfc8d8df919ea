"""Verdicts on tables of runs with planted differences."""

import numpy as np
import pytest

import logvar
from logvar.recipe import Recipe
from logvar.study.arms import AS_IS, MATCHED
from logvar.study.experiment import Experiment
from logvar.study.verdicts import (
    BEST_RATE,
    BETTER,
    DIVERGED,
    EQUIVALENT,
    FAILS_MORE,
    IDENTICAL,
    SAME_RATE,
    UNDECIDED,
    WORSE,
    Table,
    conclusions,
    judge,
    warnings,
)

NAN = float("nan")
RATES = (0.001, 0.01)


def experiment(seeds=10, **changes):
    settings = {
        "scales": ("log-variance", "log-std"), "learning_rates": RATES, "seeds": seeds,
        "arms": (AS_IS, MATCHED), "margin": 0.2, "level": 0.95, "splits": 1, "test_fraction": 0.2,
        "validation_fraction": 0.1, "importance_samples": 5, "recipe": Recipe(),
    }  # fmt: skip
    return Experiment(**(settings | changes))


def table(chosen, elbo, validation=None, rows=50):
    """A table whose runs have test ELBO `elbo(scale, arm, rate, split, seed)`; NaN is diverged."""
    runs, elbos = [], []
    for split in range(chosen.splits):
        for scale in chosen.scales:
            cells = [
                (arm, rate, seed)
                for arm in chosen.arms_of(scale)
                for rate in chosen.learning_rates
                for seed in range(chosen.seeds)
            ]
            for arm, rate, seed in cells:
                value = elbo(scale, arm, rate, split, seed)
                chosen_by = (validation or elbo)(scale, arm, rate, split, seed)
                runs.append({
                    "scale": scale, "arm": arm, "learning_rate": rate, "seed": seed, "split": split,
                    "diverged": bool(np.isnan(value)), "test_elbo": value, "validation_elbo": chosen_by,
                })  # fmt: skip
                elbos.append(np.full(rows, value))
    return Table(chosen, runs, np.array(elbos))


def verdicts(chosen, elbo, validation=None):
    return {(v.arm, v.at, v.learning_rate): v for v in judge(table(chosen, elbo, validation), 0.25)}


def noise(*key, size=0.1):
    return size * np.random.default_rng([abs(hash(str(k))) % 2**32 for k in key]).normal()


def luck(split, seed):
    """What paired runs share."""
    return 5 * np.random.default_rng([split, seed]).normal()


def with_effect(effect, size=0.1):
    def elbo(scale, arm, rate, split, seed):
        shared = -100 + luck(split, seed) + (1 if rate == 0.01 else 0)
        if scale == "log-variance":
            return shared
        return (
            shared
            + effect(arm)
            + size * np.random.default_rng([seed, split, len(arm), int(1e4 * rate)]).normal()
        )

    return elbo


def test_planted_differences_are_called_by_their_names():
    effects = {AS_IS: 0.8, MATCHED: 0.0}
    found = verdicts(experiment(), with_effect(lambda arm: effects[arm], 0.05))
    for at, rate in ((BEST_RATE, 0.01), (SAME_RATE, 0.001), (SAME_RATE, 0.01)):
        better, same = found[AS_IS, at, rate], found[MATCHED, at, rate]
        assert better.verdict == BETTER and better.low < 0.8 < better.high
        assert same.verdict == EQUIVALENT and "equivalent within ±0.2 nats" in same.text
    (line,) = conclusions(list(found.values()))
    assert "log-std better by 0.8" in line and line.endswith("not the geometry")
    found = verdicts(experiment(), with_effect(lambda arm: -0.8))
    assert all(v.verdict == WORSE for v in found.values())


def test_identical_runs_are_identical_and_not_a_nan():
    found = verdicts(experiment(), with_effect(lambda arm: 0.0, size=0.0))
    assert all(v.verdict == IDENTICAL and v.difference == 0 for v in found.values())


def test_few_runs_are_undecided_and_say_how_many_more():
    found = verdicts(experiment(seeds=3), with_effect(lambda arm: 0.05, size=0.3))
    verdict = found[AS_IS, BEST_RATE, 0.01]
    assert verdict.verdict == UNDECIDED and verdict.seeds_needed > 3
    assert f"{verdict.seeds_needed - 3} more seeds" in verdict.text


def test_more_comparisons_widen_the_intervals():
    effect = with_effect(lambda arm: 0.3, 0.2)
    alone = verdicts(experiment(arms=(AS_IS,), learning_rates=(0.01,)), effect)
    among = verdicts(experiment(), effect)
    narrow, wide = alone[AS_IS, SAME_RATE, 0.01], among[AS_IS, SAME_RATE, 0.01]
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_rates_are_chosen_on_validation_and_reported_on_test():
    def validation(scale, arm, rate, split, seed):
        return -100.0 if rate == 0.001 else -101.0

    found = verdicts(experiment(), with_effect(lambda arm: 0.8, 0.05), validation)
    best = next(v for v in found.values() if v.at == BEST_RATE and v.arm == AS_IS)
    assert (best.learning_rate, best.reference_learning_rate) == (0.001, 0.001)


def test_runs_that_diverge_count_as_failures():
    plain = with_effect(lambda arm: 0.0, 0.01)

    def one_fails(scale, arm, rate, split, seed):
        return NAN if scale == "log-std" and seed == 0 else plain(scale, arm, rate, split, seed)

    verdict = verdicts(experiment(), one_fails)[AS_IS, BEST_RATE, 0.01]
    assert verdict.n == 9 and verdict.failures == 1
    assert verdict.verdict == UNDECIDED, "no equivalence where failure rates differ"
    assert "1 of 10 runs diverged against 0 of 10" in verdict.text and "survivors" in verdict.text

    def all_fail(scale, arm, rate, split, seed):
        return NAN if scale == "log-std" else plain(scale, arm, rate, split, seed)

    verdict = verdicts(experiment(), all_fail)[AS_IS, BEST_RATE, 0.001]
    assert verdict.verdict == FAILS_MORE and "10 of 10 runs diverged" in verdict.text
    few = verdicts(experiment(seeds=3), all_fail)[AS_IS, BEST_RATE, 0.001]
    assert few.verdict == DIVERGED and "3 of 3 runs diverged against 0 of 3" in few.text

    def most_fail(scale, arm, rate, split, seed):
        return NAN if scale == "log-std" and seed < 18 else plain(scale, arm, rate, split, seed)

    assert verdicts(experiment(seeds=20), most_fail)[AS_IS, BEST_RATE, 0.01].verdict == FAILS_MORE


def test_a_rate_with_fewer_failures_is_chosen_before_a_better_elbo():
    def elbo(scale, arm, rate, split, seed):
        if rate == 0.01:
            return NAN if seed == 0 else -90.0
        return -100.0

    found = verdicts(experiment(), elbo)
    assert any(v.at == BEST_RATE and v.learning_rate == 0.001 for v in found.values())


def test_splits_take_the_place_of_seeds():
    def elbo(scale, arm, rate, split, seed):
        shift = 0.0 if scale == "log-variance" else 0.5 * (-1) ** split
        return luck(split, seed) + shift + 0.001 * seed * (scale == "log-std")

    found = verdicts(experiment(splits=4), elbo)[AS_IS, BEST_RATE, 0.001]
    assert found.n == 4 and found.verdict == UNDECIDED and "splits = 4" in found.text


def test_too_few_test_rows_for_the_margin_are_pointed_out():
    chosen = experiment()
    runs = table(chosen, with_effect(lambda arm: 0.0, 0.01))
    rng = np.random.default_rng(0)
    runs.elbos = (
        runs.elbos + rng.normal(size=(1, 50)) + 3 * rng.normal(size=(len(runs.runs), 50)).cumsum(0)
    )
    found = judge(runs, 0.25)
    (line, *_) = warnings(chosen, found, 50)
    assert "50 test rows are too few for a margin of ±0.2 nats" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "one run per scale cannot tell a difference from luck"),
        ({"scales": ("log-variance", "log-sd")}, "did you mean 'log-std'"),
        ({"scales": ("log-std",)}, "at least two different ones"),
        ({"scales": ("log-std", "log-std")}, "at least two different ones"),
        ({"arms": ("asis",)}, "did you mean 'as is'"),
        ({"learning_rates": (0.1, -1.0)}, "expected positive numbers"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"scales": ("log-std", "clamped(log-std, low=-9, high=-1)")}, "cannot start at σ = 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    with pytest.raises(logvar.LogvarError, match=message):
        experiment(**change)
