"""Turn runs into verdicts: sentences with their numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from logvar.study.arms import AS_IS, MATCHED
from logvar.study.experiment import Experiment
from logvar.study.statistics import (
    Interval,
    failures_differ,
    paired_interval,
    resampled_interval,
    seeds_to_settle,
)

IDENTICAL = "identical by construction"
EQUIVALENT = "equivalent"
BETTER = "better"
WORSE = "worse"
UNDECIDED = "undecided"
FAILS_MORE = "fails more often"
FAILS_LESS = "fails less often"
DIVERGED = "diverged"
SAME_RATE = "same learning rate"
BEST_RATE = "best learning rate"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One paired comparison of a scale with the reference: test ELBO, nats per example."""

    scale: str
    reference: str
    arm: str
    at: str
    """"same learning rate", or "best learning rate": that of each side, chosen on validation."""
    learning_rate: float
    reference_learning_rate: float
    n: int
    """The number of pairs in which both runs survived, or of splits."""
    difference: float
    """The mean of scale − reference; positive is better."""
    low: float
    high: float
    margin: float
    verdict: str
    text: str
    failures: int
    reference_failures: int
    seeds_needed: int | None
    """Seeds that would settle an open case; None if it is settled or 10,000 would not do."""
    row_error: float
    """The standard error of the difference due to the finite test set alone."""

    def as_dict(self) -> dict[str, Any]:
        plain = dataclasses.asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}


class Table:
    """The runs of an experiment, by cell."""

    def __init__(self, experiment: Experiment, runs: Sequence[dict[str, Any]], elbos: np.ndarray):
        """Index the runs; `elbos` holds the ELBO of each run and test row, for all splits."""
        self.experiment = experiment
        self.runs = list(runs)
        self.elbos = elbos
        self._at = {
            (r["scale"], r["arm"], r["learning_rate"], r["split"], r["seed"]): i
            for i, r in enumerate(self.runs)
        }

    def cell(self, scale: str, arm: str, rate: float) -> np.ndarray:
        """Return the indices (splits, seeds) of the runs of a cell."""
        arm = AS_IS if scale == self.experiment.reference else arm
        return np.array(
            [
                [self._at[scale, arm, rate, split, seed] for seed in range(self.experiment.seeds)]
                for split in range(self.experiment.splits)
            ]
        )

    def values(self, cell: np.ndarray, name: str) -> np.ndarray:
        """Return a column of a cell, (splits, seeds)."""
        return np.array([[self.runs[i][name] for i in line] for line in cell], float)

    def best_rate(self, scale: str, arm: str) -> float:
        """Return the rate with the fewest failures; ties go to the best mean validation ELBO."""

        def merit(rate: float) -> tuple[float, float]:
            values = self.values(self.cell(scale, arm, rate), "validation_elbo")
            failed = np.isnan(values)
            return -float(failed.sum()), -math.inf if failed.all() else float(np.nanmean(values))

        return max(self.experiment.learning_rates, key=merit)


def judge(table: Table, test_to_train: float) -> list[Verdict]:
    """Return all verdicts: at each side's best rate, then rate by rate.

    Args:
        table: the runs.
        test_to_train: number of test rows divided by number of training rows.
    """
    experiment = table.experiment
    others = experiment.scales[1:]
    cells = [(scale, arm) for scale in others for arm in experiment.arms]
    reference_best = table.best_rate(experiment.reference, AS_IS)
    verdicts = []
    alpha = (1 - experiment.level) / len(cells)
    for scale, arm in cells:
        rates = table.best_rate(scale, arm), reference_best
        verdicts.append(_verdict(table, scale, arm, BEST_RATE, rates, alpha, test_to_train))
    alpha /= len(experiment.learning_rates)
    for scale, arm in cells:
        for rate in experiment.learning_rates:
            rates = rate, rate
            verdicts.append(_verdict(table, scale, arm, SAME_RATE, rates, alpha, test_to_train))
    return verdicts


def _verdict(
    table: Table,
    scale: str,
    arm: str,
    at: str,
    rates: tuple[float, float],
    alpha: float,
    test_to_train: float,
) -> Verdict:
    experiment = table.experiment
    ours = table.cell(scale, arm, rates[0])
    theirs = table.cell(experiment.reference, arm, rates[1])
    differences = table.values(ours, "test_elbo") - table.values(theirs, "test_elbo")
    failed = table.values(ours, "diverged") > 0, table.values(theirs, "diverged") > 0
    interval, spread = _interval(differences, alpha, test_to_train)
    differ = failures_differ(failed[0].ravel(), failed[1].ravel(), alpha)
    of = ours.size
    counts = int(failed[0].sum()), int(failed[1].sum())
    kind = _kind(interval, experiment.margin, counts, of, differ)
    needed = None
    if kind == UNDECIDED and not math.isnan(spread) and experiment.splits == 1:
        needed = seeds_to_settle(interval.mean, spread, experiment.margin, alpha)
        # Having already run as many seeds as needed, by chance, has not settled it.
        needed = None if needed is None else max(needed, interval.n + 1)
    return Verdict(
        scale, experiment.reference, arm, at, *rates, interval.n, interval.mean, interval.low,
        interval.high, experiment.margin, kind,
        _text(kind, scale, experiment, interval, needed, counts, of),
        *counts, needed, _row_error(table, ours, theirs),
    )  # fmt: skip


def _interval(
    differences: np.ndarray, alpha: float, test_to_train: float
) -> tuple[Interval, float]:
    """Return the interval of the mean difference over seeds or splits, and the spread of pairs."""
    survived = differences[np.isfinite(differences)]
    spread = float(survived.std(ddof=1)) if len(survived) > 1 else math.nan
    values = survived
    if len(differences) > 1:
        with np.errstate(invalid="ignore"):
            values = np.array([np.nanmean(line) for line in differences if np.isfinite(line).any()])
    if len(values) == 0:
        return Interval(math.nan, math.nan, math.nan, 0), math.nan
    if len(values) == 1:
        return Interval(float(values[0]), -math.inf, math.inf, 1), math.nan
    if len(differences) > 1 and np.ptp(survived) > 0:
        return resampled_interval(values, alpha, test_to_train), spread
    return paired_interval(values, alpha), spread


def _kind(
    interval: Interval, margin: float, failures: tuple[int, int], of: int, differ: bool
) -> str:
    ours, theirs = failures
    if differ:
        return FAILS_MORE if ours > theirs else FAILS_LESS
    if ours == of or theirs == of:
        return DIVERGED
    same = ours == theirs
    if same and interval.low == interval.high == 0:
        return IDENTICAL
    if same and interval.within(margin):
        return EQUIVALENT
    if interval.excludes_zero() and interval.n > 1:
        return BETTER if interval.mean > 0 else WORSE
    return UNDECIDED


def _text(
    kind: str,
    scale: str,
    experiment: Experiment,
    interval: Interval,
    needed: int | None,
    failures: tuple[int, int],
    of: int,
) -> str:
    ours, theirs = failures
    what = "n" if experiment.splits == 1 else "splits"
    numbers = (
        f"{interval.mean:+.2g} [{interval.low:+.2g}, {interval.high:+.2g}], {what} = {interval.n}"
    )
    counts = f"{ours} of {of} runs diverged against {theirs} of {of}"
    survivors = f"; {counts}, so this holds among survivors only" if ours or theirs else ""
    if kind == IDENTICAL:
        return f"identical by construction: every paired difference is 0 ({what} = {interval.n})"
    if kind == EQUIVALENT:
        return f"equivalent within ±{experiment.margin:g} nats ({numbers}){survivors}"
    if kind in (BETTER, WORSE):
        return f"{scale} {kind} by {abs(interval.mean):.2g} nats ({numbers}){survivors}"
    if kind in (FAILS_MORE, FAILS_LESS):
        among = f"; among survivors {numbers}" if interval.n > 1 else ""
        return f"{scale} {kind}: {counts}{among}"
    if kind == DIVERGED:
        return f"{counts}: no pair to compare"
    more = "even 10,000 seeds would hardly settle it"
    if experiment.splits > 1:
        more = "more splits would tell"
    elif needed is not None:
        more = f"{needed - interval.n} more seeds should settle it"
    return f"undecided at ±{experiment.margin:g} nats ({numbers}): {more}{survivors}"


def _row_error(table: Table, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the standard error over test rows of the difference averaged over pairs."""
    if table.experiment.splits > 1:
        return math.nan
    difference = table.elbos[ours[0]].astype(np.float64) - table.elbos[theirs[0]]
    survived = difference[np.isfinite(difference).all(axis=1)]
    if not len(survived):
        return math.nan
    by_row = survived.mean(axis=0)
    return float(by_row.std(ddof=1) / math.sqrt(len(by_row))) if len(by_row) > 1 else math.nan


def conclusions(verdicts: Sequence[Verdict]) -> list[str]:
    """Return one sentence for each scale: as is and matched, at best rates, together."""
    lines = []
    best = [v for v in verdicts if v.at == BEST_RATE]
    for scale in dict.fromkeys(v.scale for v in best):
        arms = {v.arm: v for v in best if v.scale == scale}
        lines.append(_conclusion(arms.get(AS_IS), arms.get(MATCHED)))
    return lines


def _conclusion(as_is: Verdict | None, matched: Verdict | None) -> str:
    if as_is is None or matched is None:
        only = as_is or matched
        assert only is not None
        return f"{_beside(only)} {only.arm}, each at its best learning rate: {only.text}"
    text = f"{_beside(as_is)} as is, each at its best learning rate: {as_is.text}. Matched: "
    text += matched.text
    same = (IDENTICAL, EQUIVALENT)
    shown = (BETTER, WORSE, FAILS_MORE, FAILS_LESS)
    if as_is.verdict in shown and matched.verdict in same:
        return f"{text}. So what differed was the step size and the start, not the geometry"
    if as_is.verdict in shown and matched.verdict in shown:
        return f"{text}. So the step size at the start does not explain it all"
    if as_is.verdict in same and matched.verdict in same:
        return f"{text}. So it makes no difference of ±{as_is.margin:g} nats here"
    return text


def _beside(verdict: Verdict) -> str:
    return f"{verdict.scale} beside {verdict.reference},"


def warnings(experiment: Experiment, verdicts: Sequence[Verdict], test_rows: int) -> list[str]:
    """Return what a reader should know before believing the verdicts."""
    lines = []
    worst = max((v.row_error for v in verdicts if not math.isnan(v.row_error)), default=0.0)
    if 2 * worst > experiment.margin:
        rows = math.ceil(test_rows * (2 * worst / experiment.margin) ** 2)
        lines.append(
            f"{test_rows:,} test rows are too few for a margin of ±{experiment.margin:g} nats: by "
            f"their choice alone a difference may be off by ±{2 * worst:.2g} (two standard "
            f"errors). The verdicts hold for these rows; about {rows:,} rows, or --splits, would "
            "tell more"
        )
    if experiment.splits == 1:
        lines.append(
            "Intervals cover the randomness of training (weights, order, noise) on one split of "
            "the data; --splits K covers the split as well"
        )
    if any(v.failures or v.reference_failures for v in verdicts):
        lines.append("Runs that diverged count as failures; ELBO intervals are among survivors")
    return lines
