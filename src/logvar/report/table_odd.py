"""The oddest rows of a table and the cells that make them odd."""

import html
from typing import Any, NamedTuple

import numpy as np

from logvar.data.table.schema import WITH_LEVELS, Column
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.imputation import cell_log_likelihood, complete
from logvar.explaining import oddest
from logvar.report.table_columns import date_text
from logvar.report.table_view import TableView, text_of

ROWS, CELLS, DRAWS = 10, 3, 300
_SCORED, _SCORED_DRAWS = 2000, 100


class OddRow(NamedTuple):
    """A row, how improbable it is, and its oddest cells."""

    place: int
    """Its number among the rows of the view."""
    log_likelihood: float
    """log p(its observed cells), nats."""
    below_median: float
    """How far that is below the median row, nats; what is usual for a column is added for a cell
    that is missing."""
    cells: list["OddCell"]


class OddCell(NamedTuple):
    """A cell, by its column's number, and what the row's other cells let one expect there."""

    column: int
    surprise: float
    """log p(x_j | the others): how far below what is usual for the column, nats."""
    expected: float


def odd_rows(view: TableView) -> list[OddRow]:
    """Return the rows with the lowest log p(observed cells).

    Rows with different holes are compared as if what is missing were as probable as usual. Cells
    are compared as in `VAE.explain`. What is expected in a cell is its mean, or its most
    probable level, given the row's other cells: it is hidden and imputed.
    """
    fitted = view.fitted
    scored = np.unique(np.linspace(0, len(view.cells) - 1, min(len(view.cells), _SCORED)))
    scored = scored.astype(int)
    cells = view.cells[scored]
    told = None if view.condition is None else view.condition[scored]
    examples, preparation = fitted.read(cells, told)
    log_p = importance_log_likelihood(
        fitted.model, examples, preparation, view.seed, _SCORED_DRAWS
    ).log_likelihood
    usual = fitted.usual_cells
    below = np.where(np.isnan(cells), 0, usual).sum(1) - log_p
    below -= np.median(below)
    worst = np.argsort(-below, kind="stable")[:ROWS]
    told = None if told is None else told[worst]
    examples, preparation = fitted.read(cells[worst], told)
    surprise = usual - cell_log_likelihood(fitted.model, examples, preparation, view.seed, DRAWS)
    odd = oddest(surprise, CELLS)
    expected = _expected(view, cells[worst], told, odd)
    return [
        OddRow(
            int(scored[i]),
            float(log_p[i]),
            float(below[i]),
            [
                OddCell(j, float(surprise[r, j]), expected_of)
                for j, expected_of in zip(odd[r], expected[r], strict=True)
            ],
        )
        for r, i in enumerate(worst)
    ]


def _expected(
    view: TableView, cells: np.ndarray, told: np.ndarray | None, odd: list[list[int]]
) -> list[list[float]]:
    """Return what each of these cells of a row is, given the row's other cells."""
    fitted = view.fitted
    rows = np.repeat(np.arange(len(odd)), [len(columns) for columns in odd])
    columns = np.array([j for each in odd for j in each], int)
    hidden = cells[rows]
    hidden[np.arange(len(rows)), columns] = np.nan
    examples, preparation = fitted.read(hidden, None if told is None else told[rows])
    mean = complete(fitted.model, examples, preparation, view.seed, DRAWS).mean
    found = iter(fitted.in_own_units(mean)[np.arange(len(rows)), columns].tolist())
    return [[next(found) for _ in each] for each in odd]


def odd_section(view: TableView) -> tuple[str, str]:
    """Return the body and the caption of the section."""
    lines = []
    marks_of = [c.name for c in view.schema if c.kind == "identifier"]
    marks_of = [name for name in marks_of if name in view.table.names][:1]
    found = odd_rows(view)
    for row in found:
        which = f"{view.places[row.place]:,}"
        if marks_of:
            which = str(view.table[marks_of[0]][row.place].as_py())
        odd = "".join(f"<li>{_cell(view, row.place, cell)}</li>" for cell in row.cells)
        lines.append(
            f"<tr><td>{html.escape(which)}</td><td class=right>{_number(row.log_likelihood)}</td>"
            f"<td class=right>{_number(row.below_median)}</td>"
            f"<td class=cells><ul>{odd}</ul></td></tr>"
        )
    name = text_of(marks_of[0]) if marks_of else "row"
    head = (
        f"<tr><th>{html.escape(name)}</th><th class=right>log p</th>"
        "<th class=right>below median</th>"
        "<th class=cells>oddest cells</th></tr>"
    )
    scored = min(len(view.cells), _SCORED)
    caption = (
        f"The {len(found)} oddest of {scored:,} rows ({view.split})"
        f"{'' if marks_of else ', numbered from 0'}: log p of the observed cells, "
        f"importance-weighted with {_SCORED_DRAWS} draws, and how far it is below the "
        "median row (a missing cell counts as one that is as probable as usual), in nats. Of each, "
        f"the {CELLS} cells whose log p given the row's other cells is farthest "
        "below what is usual for their column, and what the others let one expect there "
        f"({DRAWS:,} draws; usual: rows drawn from the model; seed {view.seed})."
    )
    return f"<div class=wide><table class=odd>{head}{''.join(lines)}</table></div>", caption


def _cell(view: TableView, place: int, cell: OddCell) -> str:
    column = view.columns[cell.column]
    value = view.table[column.name][place].as_py()
    return (
        f"<b>{html.escape(view.names[cell.column])}</b> {html.escape(_text(value))} "
        f"<span>· {_number(cell.surprise)} nats · expected "
        f"{html.escape(_expected_text(cell.expected, column))}</span>"
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return str(value).strip()


def _expected_text(value: float, column: Column) -> str:
    if column.kind in WITH_LEVELS:
        return str(column.levels[int(value)]).strip()
    if column.kind == "constant":
        return str(column.value)
    if column.kind == "date":
        return date_text(value, column)
    digits = 0 if column.step == 1 and abs(value) >= 10 else 3
    about = f"{value:.0f}" if digits == 0 or abs(value) >= 1000 else f"{value:.3g}"
    return f"about {about}".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:,.1f}".replace("-", "−")
