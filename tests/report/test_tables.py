"""The report of a table: its numbers against pandas and SciPy, and that the page holds them."""

import dataclasses
import re
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import logvar
from logvar.data.table.cells import cells_of
from logvar.data.table.form import TableForm
from logvar.data.table.frame import as_table
from logvar.data.table.schema import Column, schema_given
from logvar.fitted import Fitted
from logvar.report import layout, table_odd
from logvar.report.page import write_report
from logvar.report.table_association import associations, largest_differences
from logvar.report.table_columns import LEVELS, distance, level_lines, picture
from logvar.report.table_map import coloured_map, separation
from logvar.report.table_marks import distinct
from logvar.report.table_missing import missing_together
from logvar.report.table_view import TableView
from logvar.report.tables import table_sections

RNG = np.random.default_rng(0)
ROWS = 400
COLOUR = RNG.integers(0, 4, ROWS).astype(float)
SHAPE = np.where(RNG.random(ROWS) < 0.5, COLOUR % 3, RNG.integers(0, 3, ROWS))
X = RNG.normal(size=ROWS)
Y = np.round(np.exp(X - 0.5 * COLOUR + RNG.normal(size=ROWS)))
CELLS = np.stack([X, Y, COLOUR, SHAPE], axis=1)
COLUMNS = (
    Column("x", "real"),
    Column("y", "count", step=1.0, low=0.0),
    Column("colour", "categorical", levels=("red", "green", "blue", "white")),
    Column("shape", "categorical", levels=("round", "square", "flat")),
)


def eta_by_hand(values, groups):
    """The correlation ratio of ranks, corrected by Kelley's formula, with pandas."""
    frame = pd.DataFrame({"rank": pd.Series(values).rank(), "group": groups})
    total = ((frame["rank"] - frame["rank"].mean()) ** 2).sum()
    within = frame.groupby("group")["rank"].apply(lambda r: ((r - r.mean()) ** 2).sum()).sum()
    n, k = len(frame), frame["group"].nunique()
    return np.sqrt(max(0, 1 - (within / total) * (n - 1) / (n - k)))


def test_associations_are_spearmans_rho_eta_and_cramers_v():
    found = associations(CELLS, COLUMNS)
    np.testing.assert_allclose(found[0, 1], stats.spearmanr(X, Y).statistic)
    np.testing.assert_allclose(found[1, 2], eta_by_hand(Y, COLOUR))
    table = pd.crosstab(COLOUR, SHAPE).to_numpy()
    raw = stats.contingency.association(table, method="cramer")
    n, r, k = ROWS, 4, 3
    phi2 = raw**2 * (min(r, k) - 1) - (r - 1) * (k - 1) / (n - 1)
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    np.testing.assert_allclose(found[2, 3], np.sqrt(phi2 / smaller))
    np.testing.assert_array_equal(found, found.T)


def test_associations_of_two_binary_columns_keep_their_sign():
    first = (X > 0).astype(float)
    columns = [Column(name, "binary", levels=("no", "yes")) for name in "ab"]
    found = associations(np.stack([first, 1 - first], axis=1), columns)
    np.testing.assert_allclose(found[0, 1], -1)


def test_associations_are_of_rows_in_which_both_cells_are_observed():
    cells = CELLS.copy()
    cells[RNG.random(ROWS) < 0.3, 0] = np.nan
    cells[RNG.random(ROWS) < 0.3, 1] = np.nan
    ranks = pd.DataFrame(cells[:, :2]).rank()
    both = ranks.dropna()
    found = associations(cells, COLUMNS)
    np.testing.assert_allclose(found[0, 1], both.corr().iloc[0, 1])
    there = ~np.isnan(cells[:, 1])
    np.testing.assert_allclose(found[1, 2], eta_by_hand(cells[there, 1], COLOUR[there]))


def test_what_does_not_vary_has_no_association():
    cells = np.stack([X, np.ones(ROWS), np.full(ROWS, np.nan)], axis=1)
    found = associations(cells, [Column(name, "real") for name in "abc"])
    assert np.isnan(found[0, 1])
    assert np.isnan(found[0, 2])
    assert largest_differences(found, found, 5) == []


def test_the_largest_difference_comes_first():
    data, samples = np.eye(3), np.eye(3)
    data[2, 0] = data[0, 2] = 0.4
    samples[2, 0] = samples[0, 2] = -0.4
    samples[2, 1] = samples[1, 2] = 0.3
    first, second, *_ = largest_differences(data, samples, 2)
    assert (first.first, first.second, first.difference) == (2, 0, -0.8)
    assert (second.first, second.second, second.difference) == (2, 1, 0.3)


def test_distances_are_scipys_and_total_variation():
    other = np.append(Y[:100] + 1, np.nan)
    np.testing.assert_allclose(
        distance(Y, other, COLUMNS[1]).value, stats.ks_2samp(Y, Y[:100] + 1).statistic
    )
    p = pd.Series(COLOUR).value_counts(normalize=True)
    q = pd.Series(COLOUR[:50]).value_counts(normalize=True)
    expected = p.sub(q, fill_value=0).abs().sum() / 2
    np.testing.assert_allclose(distance(COLOUR, COLOUR[:50], COLUMNS[2]).value, expected)


@pytest.mark.parametrize("column", [0, 2])
def test_the_distance_by_chance_is_its_mean_under_one_distribution(column):
    def draw(rows):
        values = RNG.integers(0, 4, rows).astype(float)
        return values if column == 2 else RNG.normal(size=rows)

    found = [distance(draw(200), draw(500), COLUMNS[column]) for _ in range(200)]
    value, by_chance = np.mean(found, axis=0)
    assert abs(value / by_chance - 1) < 0.12


def test_long_lists_of_levels_end_with_others():
    column = Column("town", "categorical", levels=tuple(f"town {i}" for i in range(30)))
    data, samples = (RNG.integers(0, 30, n).astype(float) ** 2 // 30 for n in (500, 300))
    lines = level_lines(data, samples, column)
    assert len(lines) == LEVELS
    assert lines[-1][0] == f"{30 - LEVELS + 1} others"
    np.testing.assert_allclose(np.sum([line[1:] for line in lines], axis=0), 1)


def test_a_common_value_is_told_in_words():
    zeros = np.where(RNG.random(ROWS) < 0.9, 0, np.round(1000 * np.exp(X)))
    text = picture(zeros, zeros, Column("gain", "count", step=1.0, low=0.0))
    assert f"= 0: {np.mean(zeros == 0):.1%} of data" in text


def test_pictures_do_not_fail_at_the_edges():
    one, empty = np.array([3.0]), np.array([np.nan])
    day = Column("day", "date", step=1.0, unit="days", dtype="date32[day]")
    for column in (COLUMNS[0], COLUMNS[1], day):
        assert "<svg" in picture(one, one, column)
        assert "no cell observed" in picture(empty, one, column)
    assert "2020-01-01" in picture(18262.0 + np.arange(3.0), 18262.0 + np.arange(3.0), day)


def test_holes_that_go_together_are_found():
    missing = np.zeros((100, 4), bool)
    missing[:30, [1, 3]] = True
    missing[20:40, 2] = True
    first, *_ = missing_together(missing, 3)
    assert first[:2] == (1, 3)
    np.testing.assert_allclose(first[2:], (1, 0.3))


def test_separation_tells_what_a_map_shows():
    places = RNG.normal(size=(300, 2))
    assert separation(places, places[:, :1]) > 0.8
    assert separation(places, RNG.normal(size=(300, 1))) < 0.1


def test_shortened_names_stay_distinct():
    names = [f"category of the {i}th question" for i in (5, 10, 105)] + ["age"]
    short = distinct(names, 14)
    assert len(set(short)) == 4
    assert max(len(name) for name in short) <= 14
    assert "105" in short[2]


FRAME = pd.DataFrame(
    {
        "name": [f"row {i}" for i in range(80)],
        "x": np.where(np.arange(80) < 10, np.nan, X[:80]),
        "y": np.where(np.arange(80) == 40, 5000, Y[:80].astype(int)),
        "colour": np.array(COLUMNS[2].levels)[COLOUR[:80].astype(int)],
        "kind <b>": np.where(X[:80] > 0, "high", "low"),
    }
)
SCHEMA = {"name": "identifier", "kind <b>": "label"}


def check(page):
    """Check a page of FRAME: every section with its protocol, the odd row with its cell."""
    for title in (
        "Columns", "Data and samples, column by column", "Which columns go together",
        "Missing cells", "Odd rows", "Latent map",
    ):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
    assert "Data: 80 rows (given); samples: 1,000 samples (seed 0)" in page
    assert "Coloured by the label, kind &lt;b&gt;." in page
    assert "kind <b>" not in page
    odd = page[page.index("<h2>Odd rows</h2>") :]
    first = re.search(r"<tr><td>(.*?)</tr>", odd, re.DOTALL)[1]
    assert first.startswith("row 40<")
    assert "<ul><li><b>y</b> 5000" in first
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", page)


def fake_fitted():
    """Return what stands for a fitted model, so that nothing is compiled."""
    table = as_table(FRAME)
    fitted = Mock(spec=Fitted)
    fitted.table = TableForm(schema_given(SCHEMA, table), table.container)
    fitted.units = fitted.model = None
    fitted.usual_cells = np.zeros(3)
    fitted.read = lambda cells, told=None: (cells, None)
    fitted.in_own_units = lambda cells: cells
    return fitted


def test_the_sections_of_a_table(monkeypatch):
    def squares(model, cells, *_):
        return -(cells**2)

    monkeypatch.setattr(table_odd, "cell_log_likelihood", squares)
    monkeypatch.setattr(
        table_odd,
        "importance_log_likelihood",
        lambda *given: SimpleNamespace(log_likelihood=np.nansum(squares(*given), axis=1)),
    )
    monkeypatch.setattr(
        table_odd, "complete", lambda _, cells, *__: SimpleNamespace(mean=np.ones(cells.shape))
    )
    fitted = fake_fitted()
    codes = np.stack([X[:80], COLOUR[:80]], axis=1)
    vae = SimpleNamespace(fitted_=fitted, transform=lambda table: codes)
    cells = cells_of(as_table(FRAME), fitted.table.schema)
    samples = np.repeat(cells, 13, axis=0)[:1000]
    labels = FRAME["kind <b>"].to_numpy(object)
    view = TableView(
        vae, as_table(FRAME), cells, samples, cells, np.arange(80), 80, "given", labels,
        "kind <b>", 0,
    )  # fmt: skip
    page = layout.page("rows", "", [], table_sections(view, (0, 1)))
    check(page)
    # The control is the data themselves here, so the two means are one.
    found = re.search(r"pairs ([\d.]+) \(([\d.]+) by chance", page)
    assert found[1] == found[2]
    unlabelled = dataclasses.replace(view, labels=None)
    assert "Coloured by colour, the column that this map separates best" in coloured(unlabelled)


def coloured(view):
    return coloured_map(view, (0, 1)).colouring


@pytest.mark.slow
def test_the_report_of_a_fitted_table(tmp_path):
    vae = logvar.VAE(latent_dim=2, epochs=2, schema=SCHEMA, network="mlp(hidden=[8])")
    vae.fit(FRAME)
    # Columns in another order: they are matched by name.
    rows = FRAME.iloc[:, ::-1]
    evaluation = vae.evaluate(rows, n_importance=2)
    path = write_report(tmp_path / "report.html", vae, evaluation, rows, None)
    check(path.read_text(encoding="utf-8"))
