"""The missing cells of a table: how many each column has, and which go together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from logvar.data.table.units import TableUnits
from logvar.report import table_marks as marks
from logvar.report.table_view import TableView

_COLUMNS, _PAIRS, _PATTERNS = 20, 8, 6


class Together(NamedTuple):
    """Two columns, by number, that lack cells in the same rows."""

    first: int
    second: int
    correlation: float
    """φ, the correlation of the two columns' "is missing"."""
    both: float
    """The share of rows in which both are missing."""


def missing_together(missing: Bool[np.ndarray, "rows columns"], at_most: int) -> list[Together]:
    """Return the pairs of columns whose holes go together most, by |φ|."""
    some = np.flatnonzero(missing.any(0) & ~missing.all(0))
    if len(some) < 2:
        return []
    holes = missing[:, some].astype(float)
    phi = np.corrcoef(holes.T)
    both = holes.T @ holes / len(holes)
    i, j = np.triu_indices(len(some), 1)
    order = np.argsort(-np.abs(phi[i, j]), kind="stable")[:at_most]
    return [
        Together(int(some[a]), int(some[b]), float(phi[a, b]), float(both[a, b]))
        for a, b in zip(i[order], j[order], strict=True)
    ]


def missing_section(view: TableView) -> tuple[str, str]:
    """Return the body and the caption of the section."""
    missing = np.isnan(view.cells)
    modelled, units = len(view.columns), view.fitted.units
    drawn = None
    if isinstance(units, TableUnits):
        drawn = units.holes.drawn(len(view.samples), view.seed)
    shares = missing.mean(0)
    there = shares if drawn is None else np.maximum(shares, drawn.mean(0))
    if not there.any():
        return "<p>No cell is missing, neither here nor in the training rows.</p>", view.which_rows
    order = [int(j) for j in np.argsort(-there, kind="stable") if there[j] > 0]
    kept = order[:_COLUMNS]
    lines = [
        (view.names[j], float(shares[j]), np.nan if drawn is None else float(drawn[:, j].mean()))
        for j in kept
    ]
    left = f"<div><h3>Share of cells missing</h3>{marks.legend()}{marks.bars(lines)}</div>"
    right = f"<div>{_pairs(view, missing)}{_patterns(view, missing)}</div>"
    caption = (
        f"{missing.mean():.1%} of the cells of {view.which_rows} are missing, in "
        f"{int(missing.any(0).sum()):,} of {modelled:,} columns; {missing.any(1).mean():.0%} of "
        "rows miss some."
    )
    if len(order) > len(kept):
        caption += f" Shown are the {len(kept)} columns that miss most."
    if drawn is not None:
        caption += (
            f" Samples: {view.which_samples} with holes as sample(missing=True) leaves them, which "
            "are patterns of the training rows."
        )
    return f"<div class=two>{left}{right}</div>", caption


def _pairs(view: TableView, missing: np.ndarray) -> str:
    pairs = missing_together(missing, _PAIRS)
    if not pairs:
        return "<h3>Missing together</h3><p>Fewer than two columns miss cells here.</p>"
    noise = 2 / np.sqrt(len(missing))
    lines = [
        [_two(view, p.first, p.second), marks.signed(p.correlation), f"{p.both:.1%}"] for p in pairs
    ]
    table = marks.words(["columns", "φ", "both missing"], lines, right=1)
    return (
        f"<h3>Missing together</h3>{table}<p class=caption>φ is the correlation of “is missing”; "
        f"where holes are independent, it is mostly within ±{noise:.2f}.</p>"
    )


def _two(view: TableView, first: int, second: int) -> str:
    return f"{marks.cut(view.names[first], 24)} and {marks.cut(view.names[second], 24)}"


def _patterns(view: TableView, missing: np.ndarray) -> str:
    patterns, counts = np.unique(missing, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PATTERNS]
    if counts[order[0]] < 0.02 * len(missing):
        return f"<p class=caption>{len(patterns):,} patterns of holes; none has 2% of the rows.</p>"
    lines = []
    for k in order:
        holes = [marks.cut(view.names[j], 20) for j in np.flatnonzero(patterns[k])]
        more = f" and {len(holes) - 4} more" if len(holes) > 4 else ""
        lines.append([", ".join(holes[:4]) + more or "none", f"{counts[k] / len(missing):.1%}"])
    title = f"<h3 class=next>The commonest of {len(patterns):,} patterns</h3>"
    return title + marks.words(["missing are", "rows"], lines, right=1)
