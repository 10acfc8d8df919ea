"""The sections of a report that only tables have."""

import numpy as np

from logvar.data.table.schema import KINDS, Schema
from logvar.report import table_marks as marks
from logvar.report.layout import section
from logvar.report.table_association import (
    FEWEST,
    Pair,
    associations,
    has_order,
    largest_differences,
)
from logvar.report.table_columns import distance, picture
from logvar.report.table_map import coloured_map
from logvar.report.table_missing import missing_section
from logvar.report.table_odd import odd_section
from logvar.report.table_view import TableView, text_of

ALL_PANELS, PANELS = 36, 24
"""More columns than the first are too many; then so many are pictured."""
MATRIX, PAIRS, LINES = 30, 12, 40
"""At most so many columns are in a matrix, pairs named, lines in a schema."""


def table_sections(view: TableView, axes_shown: tuple[int, int] | None) -> list[str]:
    """Return the sections on a table, in order.

    Args:
        view: the rows and samples to show.
        axes_shown: the latents of the map; None leaves it out.
    """
    sections = [
        section("Columns", *schema_section(view.schema)),
        section("Data and samples, column by column", *_columns(view)),
        section("Which columns go together", *_associations(view)),
        section("Missing cells", *missing_section(view)),
        section("Odd rows", *odd_section(view)),
    ]
    if axes_shown is not None:
        found = coloured_map(view, axes_shown)
        caption = f"Posterior means ({view.split}). {found.colouring}"
        sections.append(section("Latent map", found.picture, caption, half=True))
    return sections


def schema_section(schema: Schema) -> tuple[str, str]:
    """Return the schema as a table of name, kind and reason, and a caption."""
    rows = [[text_of(column.name), column.kind, column.reason] for column in schema]
    whole = marks.words(["column", "kind", "why"], rows)
    kinds = [(kind, [c for c in schema if c.kind == kind]) for kind in KINDS]
    counts = [f"{len(those):,} {kind}" for kind, those in kinds if those]
    caption = (
        f"{len(schema):,} columns, {len(schema.modelled):,} of them modelled: {', '.join(counts)}. "
        "Another kind is given by schema={'name': 'kind'}."
    )
    if len(rows) <= LINES:
        return whole, caption
    lines = []
    for kind, those in kinds:
        if those:
            first = ", ".join(marks.cut(text_of(c.name), 40) for c in those[:3])
            more = f" and {len(those) - 3:,} more" if len(those) > 3 else ""
            lines.append([kind, f"{len(those):,}", first + more])
    short = marks.words(["kind", "columns", "such as"], lines)
    opened = f"<details><summary>All {len(rows):,} columns, with reasons</summary>{whole}</details>"
    return short + opened, caption


def _columns(view: TableView) -> tuple[str, str]:
    columns = list(zip(view.cells.T, view.samples.T, view.columns, strict=True))
    apart = [distance(*column) for column in columns]
    values = np.array([each.value for each in apart])
    known = values[np.isfinite(values)]
    order = list(range(len(columns)))
    caption = ""
    if len(columns) > ALL_PANELS:
        beyond = [each.value - each.by_chance for each in apart]
        farthest = np.argsort(-np.nan_to_num(beyond, nan=-1.0), kind="stable")
        order, rest = [int(j) for j in farthest[:PANELS]], values[farthest[PANELS:]]
        caption = (
            f"Shown are the {PANELS} of {len(columns):,} columns whose distances are farthest "
            f"above chance; those of the others are up to {np.nanmax(rest):.3f}. "
        )
    caption += (
        f"Data: {view.which_rows}; samples: {view.which_samples}. Distance: of numbers the largest "
        "difference of the distribution functions (Kolmogorov–Smirnov), of levels half the sum of "
        "the differences of shares (total variation); 1 − distance is SDMetrics' column shape. By "
        "chance: about its mean if both came from one distribution. What lies beyond an axis "
        "counts in the bar at its end."
    )
    mean = f"<p>Mean distance over columns {known.mean():.3f}</p>" if len(known) else ""
    drawn = marks.panels([picture(*columns[j]) for j in order])
    return f"<div class=head>{mean}{marks.legend()}</div>{drawn}", caption


def _associations(view: TableView) -> tuple[str, str]:
    data, samples, control = (
        associations(cells, view.columns) for cells in (view.cells, view.samples, view.control)
    )
    varies = np.flatnonzero(np.isfinite(data).any(1) | np.isfinite(samples).any(1))
    if len(varies) < 2:
        return "<p>Fewer than two columns vary.</p>", view.which_rows
    known, by_chance = (_of_pairs(found - samples) for found in (data, control))
    if not len(known):
        few = f"No two columns vary in {FEWEST} rows with both cells observed."
        return f"<p>{few}</p>", view.which_rows
    shown = varies
    left_out = ""
    if len(varies) > MATRIX:
        strength = np.abs(np.where(np.isnan(data), 0, data)) - np.eye(len(data))
        strongest = np.argsort(-strength.max(1), kind="stable")[:MATRIX]
        shown = np.sort(strongest)
        left_out = (
            f"The maps show the {MATRIX} of {len(varies):,} columns with the strongest "
            "associations in the data; the table is from all. "
        )
    pairs = largest_differences(data, samples, PAIRS)
    lines = [
        [
            f"{marks.cut(view.names[p.first], 26)} × {marks.cut(view.names[p.second], 26)}",
            _association(view, p, p.data),
            _association(view, p, p.samples),
            marks.signed(p.difference),
        ]
        for p in pairs
    ]
    table = marks.words(["pair", "data", "samples", "difference"], lines, right=1)
    chance = f" ({by_chance.mean():.3f} by chance)" if len(by_chance) else ""
    words = f"<p>Mean absolute difference over {len(known):,} pairs {known.mean():.3f}{chance}</p>"
    body = (
        f"<div class=head>{words}</div><div class=two>{_matrices(view, data, samples, shown)}"
        f"<div><h3>Largest differences</h3>{table}</div></div>"
    )
    caption = (
        f"{left_out}Between columns with an order (numbers, dates, ordinal and binary): Spearman's "
        "ρ, with its sign. Between a category and such a column: the correlation ratio η of ranks. "
        "Between categories: Cramér's V. All three are the root mean square of the canonical "
        "correlations of ranks and indicators; η and V are corrected for the number of levels. "
        f"Over rows with both cells observed. Data: {view.which_rows}; samples: "
        f"{view.which_samples}."
    )
    if len(by_chance):
        caption += (
            " By chance: between these samples and as many further ones as there are rows, with "
            f"the same holes; the largest difference of a pair is then {by_chance.max():.2f}."
        )
    return body, caption


def _matrices(view: TableView, data: np.ndarray, samples: np.ndarray, shown: np.ndarray) -> str:
    """Draw the associations of some columns in data and samples, and the differences."""
    grid = np.ix_(shown, shown)
    names = [view.names[j] for j in shown]
    gap = samples[grid] - data[grid]
    largest = float(np.nanmax(np.abs(gap))) if np.isfinite(gap).any() else 0.2
    limit = max(0.2, np.ceil(10 * largest) / 10)
    key = [(1.0, "+1"), (0.5, "+0.5"), (0.0, "0"), (-0.5, "−0.5"), (-1.0, "−1")]
    key_gap = [(v, marks.signed(v)) for v in (limit, limit / 2, 0.0, -limit / 2, -limit)]
    plain, scaled = marks.diverging(1.0), marks.diverging(limit)
    return "".join(
        [
            marks.matrix(data[grid], names, plain, "Data", key),
            marks.matrix(samples[grid], names, plain, "Samples", key),
            marks.matrix(gap, names, scaled, "Samples − data", key_gap),
        ]
    )


def _of_pairs(gap: np.ndarray) -> np.ndarray:
    """The absolute differences of all pairs that have one."""
    lower = np.abs(gap[np.tril_indices(len(gap), -1)])
    return lower[np.isfinite(lower)]


def _association(view: TableView, pair: Pair, value: float) -> str:
    """An association with a sign if it can have one."""
    both = has_order(view.columns[pair.first]) and has_order(view.columns[pair.second])
    return marks.signed(value) if both else f"{value:.2f}"
