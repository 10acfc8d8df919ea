"""Ordered levels: probabilities against mpmath, their start, and the order that a softmax lacks."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import logvar
from logvar.data.table.schema import Column
from logvar.data.table.units import TableUnits
from logvar.likelihoods.cut_points import CutPoints

SHARES = [np.array(each) for each in ([0.7, 0.3], [0.2, 0.5, 0.3], [0.1, 0.4, 0.3, 0.15, 0.05])]
WIDTHS = [len(each) for each in SHARES]
POINTS = CutPoints.of_shares([np.log(each) for each in SHARES], logvar.scales.get("log-std"))
SLOPES = jax.jit(jax.jacrev(lambda at, points: points.log_probs(at)))


def exactly(first, gaps, width, location):
    """log P(level = k) in 220 digits."""
    cuts = [mpmath.mpf(float(first)) + mpmath.fsum(map(float, gaps[:k])) for k in range(width - 1)]
    s = [0, *(1 / (1 + mpmath.exp(mpmath.mpf(float(location)) - cut)) for cut in cuts), 1]
    return [float(mpmath.log(high - low)) for low, high in itertools.pairwise(s)]


@pytest.mark.parametrize("gap", [None, 1e-9, 1e-3, 30.0])
@pytest.mark.parametrize("location", [-200.0, -3.0, 0.2, 40.0])
def test_log_probabilities_are_those_of_differences_of_the_logistic_function(location, gap):
    points = POINTS
    if gap is not None:
        points = CutPoints(
            POINTS.first, jnp.full_like(POINTS.raw, np.log(gap)), POINTS.scale, POINTS.widths
        )
    found = np.asarray(points.log_probs(jnp.full(3, location, jnp.float32)), float)
    gaps = np.asarray(points.scale.sigma(points.raw), float)
    with mpmath.workdps(220):
        for i, width in enumerate(WIDTHS):
            exact = exactly(points.first[i], gaps[i], width, np.float32(location))
            np.testing.assert_allclose(found[i, :width], exact, rtol=3e-6, atol=3e-6)
            assert (found[i, width:] < -1e29).all()
    assert np.isfinite(SLOPES(jnp.full(3, location, jnp.float32), points)).all()


def test_they_start_at_the_shares_of_the_training_rows():
    probabilities = np.exp(POINTS.log_probs(jnp.zeros(3)))
    for each, found in zip(SHARES, probabilities, strict=True):
        np.testing.assert_allclose(found[: len(each)], each, rtol=1e-5)


def test_a_higher_location_makes_higher_levels_more_probable():
    at = jnp.linspace(-6, 6, 25)[:, None] * jnp.ones(3)
    above = np.cumsum(np.exp(jax.jit(jax.vmap(POINTS.log_probs))(at))[..., ::-1], axis=-1)
    assert (np.diff(above[:, 2, :4], axis=0) > 0).all()
    assert np.argmax(jax.jit(jax.vmap(POINTS.log_probs))(at)[:, 2], axis=-1).tolist() == sorted(
        np.argmax(jax.jit(jax.vmap(POINTS.log_probs))(at)[:, 2], axis=-1)
    )


def test_a_gap_that_a_scale_cannot_reach_starts_at_the_nearest():
    scale = logvar.scales.get("clamped(log-std, low=0.4, high=0.5)")
    gaps = scale.sigma(CutPoints.of_shares([np.log(each) for each in SHARES], scale).raw)
    expected = np.clip(POINTS.scale.sigma(POINTS.raw), np.exp(0.4), np.exp(0.5))
    np.testing.assert_allclose(gaps, expected, rtol=1e-3)


def test_an_ordinal_column_has_one_output_and_comes_back_from_a_saved_run():
    columns = (
        Column("a", "categorical", levels=(1, 2, 3, 4)),
        Column("b", "ordinal", levels=(1, 2, 3, 4)),
    )
    cells = np.random.default_rng(0).integers(0, 4, (50, 2)).astype(float)
    units = TableUnits.of_cells(cells, columns)
    likelihood = logvar.likelihoods.get("mixed").build_for(units)
    assert likelihood.output_shape((2,)) == (5,) and likelihood.encoder_shape((2,)) == (8,)
    assert TableUnits.from_arrays(units.arrays()).forms == units.forms
    before = units.arrays()
    before["forms"][:, 0] = 0  # as runs had them before ordered levels had cut points
    old = logvar.likelihoods.get("mixed").build_for(TableUnits.from_arrays(before))
    assert old.output_shape((2,)) == (8,)


def test_one_level_has_no_cut_point():
    """It can be given as ordinal; P(level) is then 1 without a location."""
    units = TableUnits.of_cells(np.zeros((3, 1)), (Column("a", "ordinal", levels=(1,)),))
    assert units.forms == (("levels", 1, False),)
