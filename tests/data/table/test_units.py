"""Cells become what the likelihood reads, and come back as values of their column's kind."""

import numpy as np
import pytest

import logvar
from logvar.data.table.number import NumberColumn
from logvar.data.table.units import TableUnits
from tests.data.table.columns import COLUMNS, table

CELLS = table()


@pytest.fixture(scope="module")
def units():
    return TableUnits.of_cells(CELLS, COLUMNS)


def test_every_column_has_its_form(units):
    assert units.forms == (
        ("levels", 3, False),
        ("number", 0, False),
        ("constant", 1, False),
        ("number", 1, False),
        ("number", 0, True),
        ("number", 0, True),
        ("levels", 2, False),
        ("number", 1, True),
        ("ordered levels", 3, False),
    )


def test_cells_come_back_as_they_were(units):
    values, observed = units.to_model(CELLS)
    assert values.dtype == np.float32 and values.shape == (*CELLS.shape, 6)
    np.testing.assert_array_equal(observed, ~np.isnan(CELLS))
    back = units.to_user(values[..., 5])
    np.testing.assert_allclose(back[observed], CELLS[observed], rtol=1e-6)
    exact = [0, 2, 4, 5, 6, 7, 8]  # all but the continuous ones
    np.testing.assert_array_equal(np.where(observed, back, 0)[:, exact],
                                  np.where(observed, CELLS, 0)[:, exact])  # fmt: skip
    zeros = CELLS[:, 3] == 0
    assert (back[zeros, 3] == 0).all() and zeros.sum() > 50


def test_missing_cells_hold_the_same_finite_numbers(units):
    values, observed = units.to_model(CELLS)
    assert np.isfinite(values).all()
    for j in range(CELLS.shape[1]):
        assert len(np.unique(values[~observed[:, j], j], axis=0)) == 1


def test_nothing_comes_back_outside_its_kind(units):
    odd = np.array([-1e30, -3.0, 0.0, 0.4, 2.5, 1e6, 1e30])
    cells = units.to_user(np.repeat(odd[:, None], CELLS.shape[1], 1))
    assert np.isfinite(cells).all()
    for j, column in enumerate(COLUMNS):
        if column.low is not None:
            assert (cells[:, j] >= column.low).all()
        if column.levels:
            assert set(cells[:, j]) <= set(range(len(column.levels)))
        if column.step == 1:
            assert (cells[:, j] == np.round(cells[:, j])).all()
    assert (cells[:, 5] <= 1).all()


def test_arrays_hold_everything(units):
    again = TableUnits.from_arrays(units.arrays())
    assert again.forms == units.forms
    new = table(seed=1)
    for one, other in zip(units.to_model(new), again.to_model(new), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, array in units.warps().items():
        np.testing.assert_array_equal(again.warps()[name], array)


@pytest.mark.parametrize("columns", [COLUMNS[1:2], COLUMNS[:1], COLUMNS[2:3]])
def test_a_table_may_have_one_kind_of_column_only(columns):
    at = COLUMNS.index(columns[0])
    units = TableUnits.of_cells(CELLS[:, at : at + 1], columns)
    again = TableUnits.from_arrays(units.arrays())
    one, _ = again.to_model(CELLS[:, at : at + 1])
    assert np.isfinite(one).all()


def test_a_code_that_is_no_level_is_one_line(units):
    cells = CELLS.copy()
    cells[7, 0] = 3
    with pytest.raises(logvar.LogvarError, match="3 in column 0: expected a code from 0 to 2"):
        units.to_model(cells)
    with pytest.raises(logvar.LogvarError, match="3 in column 'letter'"):
        TableUnits.of_cells(cells, COLUMNS)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "settings", "atoms"),
    [
        (np.where(RNG.random(900) < 0.5, 0, RNG.lognormal(size=900)), {}, [0]),
        (np.where(RNG.random(900) < 0.4, 40, RNG.poisson(38, 900)), {"step": 1.0}, [40]),
        (RNG.poisson(3, 900), {"step": 1.0, "low": 0.0}, []),
        (RNG.geometric(0.4, 900) - 1, {"step": 1.0, "low": 0.0}, []),
        (RNG.normal(size=900), {}, []),
        (np.round(RNG.normal(size=900), 1), {"step": 0.1}, []),
        (np.append(RNG.random(900), 1.0), {"low": 0.0, "high": 1.0}, [1]),
    ],
)
def test_atoms_are_values_repeated_far_above_chance(values, settings, atoms):
    assert NumberColumn.of_values(values.astype(float), **settings).atoms.tolist() == atoms


@pytest.mark.parametrize("step", [0.0, 1.0])
def test_a_column_may_have_one_value_beside_its_atoms(step):
    """As one gain among zeros, or the only row that trains."""
    for values in (np.r_[np.zeros(59), 5.0], np.array([72.0])):
        column = NumberColumn.of_values(values, step, 0.0)
        assert np.isfinite(column.warp.score(values)).all()


def test_an_atom_is_found_by_its_value_and_not_by_its_last_bit():
    values = np.concatenate([np.full(30, 0.3), np.linspace(0, 1, 60)])
    number = NumberColumn.of_values(values, step=0.1)
    assert number.atoms.tolist() == [0.3]
    assert number.which(np.array([0.1 + 0.2, 3 * 0.1, 0.3, 0.2])).tolist() == [0, 0, 0, 1]
    continuous = NumberColumn.of_values(np.concatenate([np.zeros(30), RNG.normal(size=60)]))
    assert continuous.which(np.array([3e-17, 0.0, 1e-9])).tolist() == [0, 0, 1]
    number = NumberColumn.of_values(np.concatenate([np.full(30, 7.3), RNG.normal(size=60)]))
    back = number.to_user(np.float32(number.to_model(np.array([7.3]))).astype(float))
    assert back.tolist() == [7.3]


@pytest.mark.parametrize("log", [12, 30])
def test_steps_of_large_integers_keep_their_probability(log):
    """The ends of x ± ½ are the same normal scores, in float32 or even in float64."""
    number = NumberColumn.of_values(np.round(RNG.lognormal(log, 1, 500)), 1.0, 0.0)
    x = np.round(np.exp(log + np.linspace(-2, 2, 50)))
    width = number.encoded(x)[:, 3].astype(np.float32)
    np.testing.assert_allclose(width, np.exp(number.warp.log_slope(x)), rtol=1e-3)


def test_a_number_beyond_its_bound_is_not_taken_for_the_atom_there():
    values = np.concatenate([np.zeros(40), np.linspace(0.1, 9, 60)])
    number = NumberColumn.of_values(values, 0.0, 0.0)
    zero, below = number.encoded(np.array([0.0, -62.0]))
    assert zero[0] == 1 and below[0] == 0 and below[1] < -10
