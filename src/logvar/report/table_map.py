"""The latent map of a table, coloured by its label or by the column that it separates best."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap
from scipy.spatial import cKDTree

from logvar.report.figures import BLUE, LABELS, MUTED, ORANGE, _new, finished_map
from logvar.report.table_association import centred_ranks, has_order, indicators_of
from logvar.report.table_columns import date_text, short
from logvar.report.table_marks import cut
from logvar.report.table_view import TableView

NEIGHBOURS = 15
_POINTS = 2000


class Map(NamedTuple):
    """A picture, and what its caption says."""

    picture: str
    colouring: str


def separation(
    places: Float[np.ndarray, "rows 2"], targets: Float[np.ndarray, "rows columns"]
) -> float:
    """Return the share of the targets' variance that a row's nearest neighbours predict.

    1 − Σ(y − ȳ_near)²/Σ(y − ȳ)² with ȳ_near the mean of the `NEIGHBOURS` nearest other rows; at
    most 1, and near 0 or below it where the map says nothing.

    Args:
        places: the rows on the map.
        targets: what to predict, summed over its columns.
    """
    k = min(NEIGHBOURS, len(places) - 1)
    near = cKDTree(places).query(places, k + 1)[1]
    # Of equal places any may be found first, so a row is taken out by its number.
    itself = near == np.arange(len(places))[:, None]
    itself[~itself.any(1), -1] = True
    near = near[~itself].reshape(len(places), k)
    predicted = targets[near].mean(1)
    total = np.square(targets - targets.mean(0)).sum()
    return float(1 - np.square(targets - predicted).sum() / total) if total > 0 else -np.inf


def best_separated(view: TableView, places: np.ndarray) -> tuple[int, float]:
    """Return the modelled column that the map separates best, and how well: the share of the
    variance of its ranks, or of its levels' indicators, that neighbours predict."""
    found = []
    for column, cells in zip(view.columns, view.cells.T, strict=True):
        there = ~np.isnan(cells)
        share = -np.inf
        if there.sum() > 2 * NEIGHBOURS:
            values = cells[there]
            encoded = centred_ranks(values)[:, None] if has_order(column) else indicators_of(values)
            if column.kind != "constant":
                share = separation(places[there], encoded)
        found.append(share)
    best = int(np.argmax(found))
    return best, float(found[best])


def coloured_map(view: TableView, axes_shown: tuple[int, int]) -> Map:
    """Plot posterior means over two latents, coloured by the label if there is one."""
    at = np.unique(np.linspace(0, len(view.codes) - 1, min(len(view.codes), _POINTS)).astype(int))
    places = np.asarray(view.codes[:, list(axes_shown)], np.float64)
    figure, (ax,) = _new(5.2, 4.3)
    if view.labels is not None:
        shown = np.array([_label(label) for label in view.labels], object)
        _categories(ax, places[at], shown[at])
        words = f"Coloured by the label{', ' + view.label_name if view.label_name else ''}."
    else:
        best, share = best_separated(view, places)
        column, values = view.columns[best], view.cells[:, best]
        if not np.isfinite(share):
            ax.scatter(places[at, 0], places[at, 1], s=9, color=MUTED, lw=0)
        elif column.levels:
            named = [str(level).strip() for level in column.levels]
            shown = np.array(["" if np.isnan(v) else named[int(v)] for v in values], object)
            _categories(ax, places[at], shown[at])
        else:
            _numbers(figure, ax, places[at], values[at], column)
        words = "Not coloured: these rows are too few to tell what the map separates."
        if np.isfinite(share):
            words = (
                f"Coloured by {view.names[best]}, the column that this map separates best: a row's "
                f"{NEIGHBOURS} neighbours predict {max(share, 0):.0%} of the variance of its "
                f"{'ranks' if has_order(column) else 'levels'}."
            )
    picture = finished_map(figure, ax, axes_shown, len(at))
    return Map(picture, f"{len(at):,} rows. {words}")


def _label(value) -> str:
    return "" if value is None or value != value else str(value).strip()


def _categories(ax, places: np.ndarray, names: np.ndarray) -> None:
    """Colour the commonest names; the others and missing ones are grey."""
    levels, counts = np.unique(names[names != ""].astype(str), return_counts=True)
    commonest = levels[np.argsort(-counts, kind="stable")]
    few = len(commonest) <= len(LABELS) - 1
    kept = commonest if few else commonest[: len(LABELS) - 2]
    groups = [(name, colour, names == name) for name, colour in zip(kept, LABELS, strict=False)]
    rest = ~np.isin(names.astype(str), kept)
    missing = names == ""
    if not few:
        groups.insert(0, (f"{len(commonest) - len(kept)} others", LABELS[-1], rest & ~missing))
    if missing.any():
        groups.insert(0, ("missing", "#d5d9d6", missing))
    for name, colour, at in groups:
        x, y = places[at].T
        ax.scatter(x, y, s=9, color=colour, lw=0, alpha=0.8, label=cut(name, 22))
    ax.legend(
        frameon=False, fontsize=8.5, markerscale=2, labelcolor="#1d2733", handletextpad=0.1,
        loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, columnspacing=0.8,
    )  # fmt: skip


def _numbers(figure, ax, places: np.ndarray, values: np.ndarray, column) -> None:
    """Colour by rank, so that a tail does not leave all others in one colour."""
    there = ~np.isnan(values)
    ramp = LinearSegmentedColormap.from_list("ramp", [ORANGE, "#e9e4d8", BLUE])
    if not there.all():
        ax.scatter(*places[~there].T, s=7, color=MUTED, lw=0, alpha=0.3)
    ranks = centred_ranks(values)[there] + 0.5
    dots = ax.scatter(*places[there].T, c=ranks, cmap=ramp, vmin=0, vmax=1, s=9, lw=0)
    bar = figure.colorbar(dots, ax=ax, orientation="horizontal", shrink=0.8, aspect=40)
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    at = np.quantile(values[there], quantiles)
    texts = [
        date_text(v, column) if column.kind == "date" else short(float(f"{v:.3g}")) for v in at
    ]
    bar.set_ticks(quantiles, labels=texts)
    bar.ax.tick_params(labelsize=8.5, colors=MUTED)
    bar.outline.set_visible(False)
    bar.set_label(f"{cut(str(column.name).strip(), 40)}, by rank", fontsize=9)
