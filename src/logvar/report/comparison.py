"""The report of a comparison: verdicts first, then the figures behind them."""

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logvar.assembly.parts import get
from logvar.report import comparison_figures as figures
from logvar.report.layout import page, section
from logvar.storage.files import write_atomically
from logvar.study.arms import AS_IS
from logvar.study.verdicts import BEST_RATE

if TYPE_CHECKING:
    from logvar.comparing import Comparison


def write_comparison(path: Path, comparison: "Comparison") -> Path:
    """Write the report of a comparison."""
    write_atomically(path, _page(comparison))
    return path


def _page(comparison: "Comparison") -> str:
    experiment, records = comparison.experiment, comparison.records
    best = {(v.scale, v.arm): v.learning_rate for v in comparison.verdicts if v.at == BEST_RATE}
    reference = [v.reference_learning_rate for v in comparison.verdicts if v.at == BEST_RATE]
    best |= {(experiment.reference, AS_IS): reference[0]}
    families = (
        f"Paired differences with intervals that hold together at {experiment.level:.0%} "
        "(Bonferroni, within the best rates and within the same rates). The band is the margin."
    )
    sections = [
        section("Verdicts", _verdicts(comparison)),
        section(
            "Test ELBO against learning rate",
            figures.elbo_against_rate(experiment, records),
            "Means over seeds, with the range from worst to best run, without runs that diverged. "
            "Left: only the line of code is swapped. Middle: the same runs over the learning rate "
            "times what a step of it moves log σ. Right: same start and same step in log σ. If "
            "curves that differ on the left coincide on the right, only step size and start "
            "mattered.",
        ),
        section("Differences", figures.differences(experiment, comparison.verdicts), families),
        section(
            "Failures", _failures(comparison), "A run fails when a loss or gradient is not finite."
        ),
        section(
            "σ over training",
            figures.sigma_over_training(experiment, comparison.curves, best),
            "Median and 5–95 % of the posterior σ on validation rows at each scale's best rate, "
            "mean over seeds.",
        ),
        section("What was measured on each model", _measured(comparison, best), _MEASURED),
        section("Start and slope", _starts(comparison), "As is, raw outputs start near 0."),
        section("Cost", _cost(comparison), "On this machine, compilation included."),
    ]
    return page(
        comparison.data["name"] or "data",
        "scales compared with logvar",
        _facts(comparison),
        sections,
    )


_MEASURED = (
    "Means over seeds on test rows, at each scale's best rate. Gradient noise: variance over ε of "
    "∂loss/∂r, and its prediction for a Gaussian posterior at its optimum. Curvature: ∂²loss/∂r², "
    "and 2d². Share: of the squared gradient norm in the raw outputs' columns. Slope left over: "
    "root mean square of the log ratio of matched steps in log σ to the reference's."
)


def _facts(comparison: "Comparison") -> list[str]:
    experiment, data = comparison.experiment, comparison.data
    recipe = experiment.recipe
    training = recipe.training
    objective = get("objective", recipe.objective.objective, experiment.own)
    kl = "in closed form" if objective.analytic_kl else "sampled in training"
    return [
        f"{data['train']:,} rows to train, {data['validation']:,} to choose by, "
        f"{data['test']:,} to test",
        f"{experiment.seeds} seeds",
        f"{experiment.splits} split" + ("s" if experiment.splits > 1 else ""),
        f"{len(comparison.records)} models",
        f"{training.optimizer}, at most {training.epochs} epochs, patience {training.patience}",
        f"{recipe.model.latent_dim} latents",
        f"binarization {recipe.data.binarization}",
        f"ELBO at β = 1, one sample per row, KL {kl}",
        f"margin ±{experiment.margin:g} nats per example",
    ]


def _verdicts(comparison: "Comparison") -> str:
    lines = "".join(f"<li>{html.escape(line)}.</li>" for line in comparison.conclusions)
    notes = "".join(f"<li>{html.escape(note)}.</li>" for note in comparison.notes)
    return f"<ul class=verdicts>{lines}</ul><ul class='verdicts notes'>{notes}</ul>"


def _failures(comparison: "Comparison") -> str:
    experiment = comparison.experiment
    lines = []
    for scale, arm in _arms(comparison):
        counts = []
        for rate in experiment.learning_rates:
            some = _runs(comparison, scale, arm, rate)
            counts.append(f"{sum(r['diverged'] for r in some)} of {len(some)}")
        lines.append([scale, arm, *counts])
    return _table(["scale", "arm", *(f"{rate:g}" for rate in experiment.learning_rates)], lines)


def _arms(comparison: "Comparison") -> list[tuple[str, str]]:
    return list(dict.fromkeys((r["scale"], r["arm"]) for r in comparison.records))


def _runs(comparison: "Comparison", scale: str, arm: str, rate: float) -> list[dict[str, Any]]:
    wanted = (scale, arm, rate)
    return [r for r in comparison.records if (r["scale"], r["arm"], r["learning_rate"]) == wanted]


_COLUMNS = {
    "test_elbo": "test ELBO",
    "test_log_likelihood": "log p(x)",
    "test_kl": "KL",
    "active_units": "active",
    "gradient_noise": "gradient noise",
    "gradient_noise_predicted": "predicted",
    "curvature": "curvature",
    "curvature_predicted": "2d²",
    "gradient_share": "share",
    "slope_mismatch": "slope left over",
}


def _measured(comparison: "Comparison", best: dict[tuple[str, str], float]) -> str:
    lines = []
    for scale, arm in _arms(comparison):
        rate = best[scale, arm]
        some = _runs(comparison, scale, arm, rate)
        values = [_mean([r[name] for r in some]) for name in _COLUMNS]
        lines.append([scale, arm, f"{rate:g}", *(_number(value) for value in values)])
    return _table(["scale", "arm", "rate", *_COLUMNS.values()], lines)


def _mean(values: Sequence[float | int | None]) -> float:
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
    return "–" if math.isnan(value) else text.replace("-", "−")


def _starts(comparison: "Comparison") -> str:
    lines = [
        [name, f"{sigma:.4g}", f"{slope:.4g}", "–" if matched is None else f"{matched:.4g}"]
        for name, sigma, slope, matched in figures.starts(comparison.experiment)
    ]
    return _table(["scale", "σ at r = 0", "|d log σ/dr| there", "r of the matched start"], lines)


def _cost(comparison: "Comparison") -> str:
    lines = []
    for scale in comparison.experiment.scales:
        seconds = sum(taken for name, taken in comparison.seconds if name == scale)
        some = [r for r in comparison.records if r["scale"] == scale]
        epochs = sum(r["epochs"] for r in some)
        batch = comparison.experiment.recipe.training.batch_size
        steps = epochs * -(-comparison.data["train"] // batch)
        per_step = f"{1e3 * seconds / steps:.2g} ms" if steps else "–"
        lines.append([scale, str(len(some)), f"{epochs:,}", f"{seconds:.1f} s", per_step])
    return _table(["scale", "models", "epochs", "time", "per model and step"], lines)


def _table(head: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table whose first two columns are words and the others numbers."""

    def cells(values: Iterable[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=right' if i > 1 else ''}>{html.escape(value)}</{tag}>"
            for i, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    return f"<div class=wide><table><tr>{cells(head, 'th')}</tr>{body}</table></div>"
