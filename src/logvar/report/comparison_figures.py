"""The figures of a comparison: functions of its records that return inline images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from logvar import scales
from logvar.registry import parsed
from logvar.report.figures import LABELS, MUTED, _new, _svg
from logvar.study.arms import AS_IS, MATCHED, first_raw
from logvar.study.experiment import Experiment

Records = Sequence[dict[str, Any]]


def _colour(experiment: Experiment, scale: str) -> str:
    return LABELS[experiment.scales.index(scale) % len(LABELS)]


def effective_rate(experiment: Experiment, scale: str, rate: float) -> float:
    """Return the learning rate times the step in log σ per unit of it, over the reference's, at
    the start: |d|/|d_ref| under Adam, its square under SGD."""
    chosen, reference = scales.get(scale), scales.get(experiment.reference)
    # As is, the raw output starts at 0 under every scale.
    ratio = abs(float(chosen.slope(0.0)) / float(reference.slope(0.0)))
    power = 2 if parsed(experiment.recipe.training.optimizer).name == "sgd" else 1
    return rate * ratio**power


def elbo_against_rate(experiment: Experiment, records: Records) -> str:
    """Plot test ELBO against learning rate: as is, as is over the step in log σ, and matched."""
    figure, axes = _new(11.5, 3.7, columns=3)
    panels = [
        (axes[0], AS_IS, lambda scale, rate: rate, "learning rate, as is"),
        (axes[1], AS_IS, lambda s, r: effective_rate(experiment, s, r), "as is, rate × slope"),
        (axes[2], MATCHED, lambda scale, rate: rate, "learning rate, matched"),
    ]
    for ax, arm, place, label in panels:
        for scale in experiment.scales:
            wanted = AS_IS if scale == experiment.reference else arm
            points = [
                (place(scale, rate), values.mean(), values.min(), values.max())
                for rate in experiment.learning_rates
                if len(values := _finite(records, scale, wanted, rate, "test_elbo"))
            ]
            if points:
                x, mean, low, high = np.array(sorted(points)).T
                colour = _colour(experiment, scale)
                ax.fill_between(x, low, high, color=colour, alpha=0.13, lw=0)
                ax.plot(x, mean, "o-", color=colour, ms=4, lw=1.5, label=scale)
        ax.set_xscale("log")
        ax.set_xlabel(label, fontsize=9)
    axes[0].set_ylabel("test ELBO, nats per example", fontsize=9)
    lowest, highest = _limits(records)
    for ax in axes:
        ax.set_ylim(lowest, highest)
        ax.xaxis.set_minor_formatter("")
    axes[0].legend(frameon=False, fontsize=8.5, loc="lower center")
    return _svg(figure)


def _limits(records: Records) -> tuple[float, float]:
    """Return a range that shows all but the worst failures."""
    values = np.array([r["test_elbo"] for r in records], float)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    top, middle = float(values.max()), float(np.median(values))
    bottom = max(float(values.min()), top - 4 * (top - middle) - 1e-3)
    margin = 0.08 * (top - bottom) + 1e-3
    return bottom - margin, top + margin


def _finite(records: Records, scale: str, arm: str, rate: float, name: str) -> np.ndarray:
    values = np.array(
        [
            r[name]
            for r in records
            if r["scale"] == scale and r["arm"] == arm and r["learning_rate"] == rate
        ],
        float,
    )
    return values[np.isfinite(values)]


def differences(experiment: Experiment, verdicts: Sequence[Any]) -> str:
    """Plot every verdict's interval against the margin."""
    shown = [v for v in verdicts if np.isfinite([v.low, v.high]).all()]
    figure, (ax,) = _new(11.5, 0.8 + 0.24 * max(len(shown), 1))
    ax.axvspan(-experiment.margin, experiment.margin, color="#edf1ee", lw=0)
    ax.axvline(0, color=MUTED, lw=0.8)
    for y, verdict in enumerate(shown):
        colour = _colour(experiment, verdict.scale)
        ax.plot([verdict.low, verdict.high], [y, y], color=colour, lw=1.6)
        ax.plot([verdict.difference], [y], "o", color=colour, ms=4.5)
    ax.set_yticks(range(len(shown)), [_name(v) for v in shown], fontsize=8)
    ax.invert_yaxis()
    ends = [min(abs(end), 10 * experiment.margin) for v in shown for end in (v.low, v.high)]
    reach = max([experiment.margin, *ends])
    ax.set_xlim(-1.1 * reach, 1.1 * reach)
    ax.set_xlabel(f"test ELBO minus that of {experiment.reference}, nats per example", fontsize=9)
    return _svg(figure)


def _name(verdict: Any) -> str:
    where = "best rates" if verdict.at.startswith("best") else f"{verdict.learning_rate:g}"
    return f"{verdict.scale}, {verdict.arm}, {where}"


def sigma_over_training(
    experiment: Experiment, curves: Records, rates: dict[tuple[str, str], float]
) -> str:
    """Plot the median σ of the held-out posteriors over epochs, with the 5–95 % band, by arm."""
    arms = [AS_IS, *(arm for arm in experiment.arms if arm == MATCHED)]
    figure, axes = _new(11.5, 3.2, columns=len(arms))
    for ax, arm in zip(axes, arms, strict=True):
        for scale in experiment.scales:
            wanted = AS_IS if scale == experiment.reference else arm
            rate = rates.get((scale, wanted))
            some = [
                e
                for e in curves
                if (e["scale"], e["arm"], e["learning_rate"]) == (scale, wanted, rate)
            ]
            if not some:
                continue
            epochs, bands = _bands(some)
            sigma = np.asarray(scales.get(scale).sigma(bands))
            colour = _colour(experiment, scale)
            ax.fill_between(epochs, sigma[:, 0], sigma[:, 2], color=colour, alpha=0.13, lw=0)
            ax.plot(epochs, sigma[:, 1], color=colour, lw=1.5, label=f"{scale}, {rate:g}")
        ax.set_yscale("log")
        ax.set_xlabel(f"epoch, {arm}", fontsize=9)
        ax.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("posterior σ on validation rows", fontsize=9)
    return _svg(figure)


def _bands(curves: Records) -> tuple[list[int], np.ndarray]:
    """Return epochs, and quantiles of raw outputs at each, averaged over runs still training."""
    epochs = sorted({entry["epoch"] for entry in curves})
    shown = ("raw_0.05", "raw_0.5", "raw_0.95")
    bands = [
        np.mean([[e[name] for name in shown] for e in curves if e["epoch"] == n], axis=0)
        for n in epochs
    ]
    return epochs, np.array(bands, np.float32)


def starts(experiment: Experiment) -> list[tuple[str, float, float, float | None]]:
    """Return (scale, σ at raw output 0, |slope| there, raw output of the matched start) of each."""
    reference = scales.get(experiment.reference)
    lines = []
    for name in experiment.scales:
        scale = scales.get(name)
        matched = first_raw(scale, reference) if MATCHED in experiment.arms else None
        lines.append((name, float(scale.sigma(0.0)), abs(float(scale.slope(0.0))), matched))
    return lines
