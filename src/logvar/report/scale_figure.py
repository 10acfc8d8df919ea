"""Plots of scales over their raw outputs: σ, slope, and the KL's first two derivatives."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from logvar import scales
from logvar.errors import LogvarError
from logvar.report.figures import INK, LABELS, MUTED, style
from logvar.storage.files import writing

ENDINGS = (".png", ".svg", ".pdf")


def check_ending(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        LogvarError: the ending is not one of `ENDINGS`, or the folder is missing.
    """
    if path.suffix.lower() not in ENDINGS:
        raise LogvarError(f"{path} has the ending {path.suffix!r}: expected {', '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise LogvarError(f"{path.absolute().parent} is not a folder: make it first")


def draw_scales(
    path: Path,
    names: list[str],
    *,
    raw_outputs: tuple[list[int], list[float], str] | None = None,
) -> None:
    """Plot σ(r), d against σ, dKL/dr and KL″ of some scales.

    Args:
        path: a .png, .svg or .pdf file.
        names: the names of the scales.
        raw_outputs: (counts, edges, label) of a run's raw outputs, plotted below as a histogram
            over the same axis.

    Raises:
        LogvarError: an unknown scale, or a file that cannot be written.
    """
    check_ending(path)
    low, high = -6.0, 6.0
    if raw_outputs is not None:
        low, high = min(low, raw_outputs[1][0]), max(high, raw_outputs[1][-1])
    raw = np.linspace(low, high, 601)
    figure = Figure(figsize=(10, 6.6 if raw_outputs is None else 8.2), layout="constrained")
    FigureCanvasAgg(figure)
    rows = 2 if raw_outputs is None else 3
    grid = figure.add_gridspec(rows, 2, height_ratios=(3, 3, 1.6)[:rows])
    panels = [figure.add_subplot(grid[place]) for place in ((0, 0), (0, 1), (1, 0), (1, 1))]
    if raw_outputs is not None:
        _histogram(figure.add_subplot(grid[2, :]), raw_outputs, (low, high))
    for ax, title, x_label in zip(
        panels,
        ("σ(r)", "slope d = d log σ/dr", "dKL/dr", "KL″ = d²KL/dr²"),
        ("raw output r", "σ", "raw output r", "raw output r"),
        strict=True,
    ):
        style(ax)
        ax.set_title(title, fontsize=10, color=INK, loc="left")
        ax.set_xlabel(x_label, fontsize=9)
    for index, name in enumerate(names):
        _curves(panels, name, raw, LABELS[index % len(LABELS)], "-" if index < 10 else "--")
    panels[0].set_yscale("log")
    panels[1].set_xscale("log")
    panels[0].set_ylim(1e-3, 1e3)
    panels[1].set_xlim(1e-3, 1e3)
    panels[1].set_ylim(*_slope_limits(panels[1]))
    panels[2].set_ylim(-2, 8)
    panels[3].set_ylim(-1, 4)
    for ax in (panels[0], panels[2], panels[3]):
        ax.set_xlim(low, high)
        ax.axvline(0, color=MUTED, lw=0.5)
    for ax in panels[2:]:
        ax.axhline(0, color=MUTED, lw=0.5)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False,
        ncols=min(5, len(names)), fontsize=9, labelcolor=INK,
    )  # fmt: skip
    with writing(path):
        figure.savefig(path, dpi=150)


def _curves(panels: list[Axes], name: str, raw: np.ndarray, colour: str, line: str) -> None:
    scale = scales.get(name)
    with jax.enable_x64(True):
        r = jnp.asarray(raw, float)
        gradient = jax.grad(lambda r: jnp.sum(scale.kl_excess(r)))
        sigma, slope, first, second = (
            np.asarray(values)
            for values in (
                scale.sigma(r),
                scale.slope(r),
                gradient(r),
                jax.grad(lambda r: jnp.sum(gradient(r)))(r),
            )
        )
        # Slopes are plotted over σ itself, so that scales are compared at the same σ.
        wide = jnp.linspace(-40.0, 1000.0, 20_001)
        reached, slope = np.asarray(scale.sigma(wide)), np.asarray(scale.slope(wide))
    style_of: dict[str, Any] = {"color": colour, "lw": 1.6, "ls": line}
    panels[0].plot(raw, sigma, label=name, **style_of)
    shown = (reached > 1e-4) & (reached < 1e4)
    order = np.argsort(reached[shown])
    panels[1].plot(reached[shown][order], slope[shown][order], **style_of)
    panels[2].plot(raw, first, **style_of)
    panels[3].plot(raw, second, **style_of)


def _slope_limits(panel: Axes) -> tuple[float, float]:
    """Show slopes below 0 only for precisions, whose σ falls as r rises."""
    falls = any(np.min(line.get_ydata()) < 0 for line in panel.lines)
    return -1.25 if falls else -0.05, 1.6


def _histogram(
    ax: Axes, raw_outputs: tuple[list[int], list[float], str], limits: tuple[float, float]
) -> None:
    counts, edges, what = raw_outputs
    style(ax)
    ax.stairs(counts, edges, fill=True, color=MUTED)
    ax.set_xlim(*limits)
    ax.set_title(f"raw outputs of {what}", fontsize=10, color=INK, loc="left")
    ax.set_xlabel("raw output r", fontsize=9)
    ax.set_ylabel("count", fontsize=9)
