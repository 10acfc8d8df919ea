"""The figures of a report: functions of arrays that return inline images."""

import base64
import io
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1d2733"
MUTED = "#7a8794"
BLUE = "#2463a8"
ORANGE = "#d9722e"
LABELS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
    "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
)  # fmt: skip


def _new(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for ax in axes:
        style(ax)
    return figure, axes


def style(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=MUTED, labelsize=8.5)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)


def _svg(figure: Figure) -> str:
    """Return the figure as inline SVG; deterministic, with text as text."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "logvar", "font.family": "sans-serif"}
    ):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().decode()
    # The metadata are links to standards; an offline page should not refer to any host.
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _png(array: np.ndarray) -> str:
    """Return an image in [0, 1], (height, width) or (height, width, 3), as an <img> tag."""
    from PIL import Image

    pixels = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return _inline(buffer, "pixels")


def _inline(png: io.BytesIO, kind: str) -> str:
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img class="{kind}" alt="" src="data:image/png;base64,{data}">'


def curves(history: list[dict]) -> str:
    """Plot ELBO, reconstruction and KL over epochs, with the best held-out epoch marked."""
    figure, axes = _new(9.0, 2.7, 3)
    epochs = [line["epoch"] for line in history]
    for ax, term, title in zip(
        axes, ("elbo", "reconstruction", "kl"), ("ELBO", "log p(x | z)", "KL"), strict=True
    ):
        train = np.array([line["train"][term] for line in history])
        ax.plot(epochs, train, color=MUTED, lw=1.3, label="training")
        held_out = [line["validation"][term] for line in history if line["validation"]]
        if held_out:
            ax.plot(epochs[: len(held_out)], held_out, color=BLUE, lw=1.6, label="held out")
            best = history[-1]["best_epoch"]
            if best:
                ax.axvline(best, color=ORANGE, lw=1, ls=(0, (3, 2)))
        everything = np.concatenate([train, held_out]) if held_out else train
        # Showing the first epochs would compress the others to a line.
        if len(everything) > 20:
            low, high = np.quantile(everything, [0.04, 1] if term != "kl" else [0, 1])
            margin = 0.06 * (high - low) or 1
            ax.set_ylim(low - margin, high + margin)
        ax.set_title(title, fontsize=10, color=INK, loc="left")
        ax.set_xlabel("epoch", fontsize=9)
    axes[0].set_ylabel("nats per example", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="lower right")
    return _svg(figure)


def by_latent(values: list[float], what: str) -> str:
    """Plot a bar per latent, largest first."""
    order = np.argsort(values)[::-1]
    figure, (ax,) = _new(4.4, 2.6)
    ax.bar(range(len(values)), np.asarray(values)[order], color=BLUE, width=0.7)
    step = max(1, len(values) // 16)
    ax.set_xticks(range(0, len(values), step), [str(i) for i in order[::step]])
    ax.set_xlabel("latent, largest first", fontsize=9)
    ax.set_ylabel(what, fontsize=9)
    return _svg(figure)


def raw_histogram(
    counts: list[int], edges: list[float], low: float, high: float, scale: str
) -> str:
    """Plot a histogram of raw scale outputs, and below it their place in the safe range."""
    figure = Figure(figsize=(4.4, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    ax, strip = figure.subplots(2, 1, height_ratios=(6, 1))
    for each in (ax, strip):
        style(each)
    ax.stairs(counts, edges, fill=True, color=BLUE)
    ax.set_ylabel("count", fontsize=9)
    ax.set_xlabel(f"raw scale output under {scale}", fontsize=9)

    left, right = edges[0], edges[-1]
    # A bound of 1e38 means "none": the strip then ends a little beyond the outputs.
    shown = (max(low, left - 150), min(high, right + 150))
    margin = 0.06 * (shown[1] - shown[0])
    strip.axvspan(*shown, color=BLUE, alpha=0.13, lw=0)
    strip.axvspan(left, right, color=BLUE, lw=0)
    for bound, edge in ((low, shown[0]), (high, shown[1])):
        if bound == edge:
            strip.axvline(bound, color=ORANGE, lw=2)
    strip.set_xlim(min(shown[0], left) - margin, max(shown[1], right) + margin)
    strip.set_yticks([])
    strip.spines["left"].set_visible(False)
    strip.set_xlabel("the same within the safe range", fontsize=9)
    return _svg(figure)


def latent_map(codes: np.ndarray, labels: np.ndarray | None, axes_shown: tuple[int, int]) -> str:
    """Plot posterior means over two latents, coloured by label if there are labels."""
    figure, (ax,) = _new(5.2, 4.6)
    x, y = codes[:, axes_shown[0]], codes[:, axes_shown[1]]
    few = labels is not None and len(np.unique(labels)) <= len(LABELS)
    if labels is not None and few:
        for colour, label in zip(LABELS, np.unique(labels), strict=False):
            at = labels == label
            ax.scatter(x[at], y[at], s=9, color=colour, lw=0, alpha=0.85, label=str(label))
        ax.legend(
            frameon=False, fontsize=8.5, markerscale=2, labelcolor=INK, handletextpad=0.1,
            loc="center left", bbox_to_anchor=(1, 0.5),
        )  # fmt: skip
    else:
        ax.scatter(x, y, s=7, color=BLUE, lw=0, alpha=0.6)
    return finished_map(figure, ax, axes_shown, len(codes))


def finished_map(figure: Figure, ax: Axes, axes_shown: tuple[int, int], points: int) -> str:
    """Name the latents on a map's axes, and return it as HTML."""
    ax.set_xlabel(f"latent {axes_shown[0]}", fontsize=9)
    ax.set_ylabel(f"latent {axes_shown[1]}", fontsize=9)
    ax.set_aspect("equal", adjustable="datalim")
    figure.canvas.draw()
    return _svg_or_png(figure, points)


def _svg_or_png(figure: Figure, points: int) -> str:
    """Return SVG, or PNG if thousands of points would make the SVG slow."""
    if points <= 2000:
        return _svg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, transparent=True)
    return _inline(buffer, "plot")


def tiles(images: np.ndarray, columns: int, gap: int = 1) -> str:
    """Arrange images (n, height, width, 1 or 3) in rows of `columns` images."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return _png(canvas[..., 0] if channels == 1 else canvas)


def feature_fit(rows: np.ndarray, decoded: np.ndarray, names: Sequence[str] = ()) -> str:
    """Plot the share of each feature's variance that the reconstruction explains, over its
    observed cells; few features have their names below them, if they have some."""
    # In float64: the difference of two uint8 is taken modulo 256.
    flat, other = (np.asarray(x, np.float64).reshape(len(rows), -1) for x in (rows, decoded))
    there = ~np.isnan(flat)
    number = np.maximum(there.sum(0), 1)
    mean = np.where(there, flat, 0).sum(0) / number
    spread = np.where(there, np.square(flat - mean), 0).sum(0)
    error = np.where(there, np.square(flat - other), 0).sum(0)
    explained = 1 - error / np.where(spread > 0, spread, np.inf)
    shown = explained[:60]
    figure, (ax,) = _new(9.0, 2.4)
    ax.bar(range(len(shown)), shown, color=BLUE, width=0.7)
    ax.set_ylim(min(0, float(shown.min())) - 0.02, 1.02)
    if len(shown) <= 20 and names:
        ax.set_xticks(range(len(shown)), names, rotation=30)
    elif len(shown) <= 20:
        ax.set_xticks(range(len(shown)))
    ax.set_xlabel("feature" + (" (the first 60)" if len(explained) > 60 else ""), fontsize=9)
    ax.set_ylabel("share of variance explained", fontsize=9)
    return _svg(figure)
