"""Mixed tables: probabilities add up, missing cells do not matter, draws are of the kind."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import logvar
from logvar.data.table.schema import Column
from logvar.data.table.units import TableUnits
from logvar.likelihoods.mixed import _with_atoms
from logvar.trainable import trainable
from tests.data.table.columns import COLUMNS, table

CELLS = table()
UNITS = TableUnits.of_cells(CELLS, COLUMNS)
VALUES, OBSERVED = UNITS.to_model(CELLS)
SEEN = np.repeat(OBSERVED[..., None], 6, axis=-1)
LETTER, TAIL, SAME, ZEROS, COUNT, SHARE, YES, VISITS, GRADE = range(len(COLUMNS))


def built(units=UNITS, **settings):
    return logvar.likelihoods.get("mixed", **settings).build_for(units)


LIKELIHOOD = built(sigma=0.6)
OUTPUTS = jnp.asarray(
    np.random.default_rng(2).normal(size=LIKELIHOOD.output_shape((9,))) * 0.7, jnp.float32
)
ZERO = jnp.zeros_like(OUTPUTS)


def test_groups_of_atoms_have_sizes_of_their_own():
    """Types are checked for an entry at random, so a rule that ties groups together fails at times."""
    cells = np.random.default_rng(1).normal(size=(400, 2))
    cells[:200, 0], cells[:200, 1] = 0, np.repeat([0, 1, 2, 3], 50)
    units = TableUnits.of_cells(cells, [Column("one", "real"), Column("four", "real")])
    for _ in range(20):
        assert {atoms.shape for atoms in built(units).atoms} == {(1, 1), (1, 4)}


@eqx.filter_jit
def log_probs(likelihood, values, outputs):
    return jax.jit(jax.vmap(likelihood.log_prob, (0, None)))(values, outputs)


@jax.jit
def means(outputs):
    return LIKELIHOOD.mean(outputs), LIKELIHOOD.expectation(outputs)


def at(column, values, outputs=OUTPUTS):
    """log p of these values of a column; the other columns are as in row 0."""
    size = 401 if len(values) <= 401 else len(values)  # few shapes: each is compiled
    cells = np.repeat(np.nan_to_num(CELLS[:1]), size, 0)
    cells[: len(values), column] = values
    logs = np.asarray(log_probs(LIKELIHOOD, UNITS.to_model(cells)[0], outputs), float)
    return logs[: len(values), column]


@pytest.mark.parametrize(
    ("column", "values"),
    [(LETTER, 3), (YES, 2), (GRADE, 3), (SAME, 2), (COUNT, 400), (VISITS, 400)],
)
def test_probabilities_add_up_to_one(column, values):
    np.testing.assert_allclose(np.exp(at(column, np.arange(values))).sum(), 1, rtol=1e-5)


def test_rounded_reals_have_a_bounded_density_that_adds_up():
    logs = at(SHARE, np.arange(101) / 100)
    np.testing.assert_allclose(np.exp(logs).sum() * 0.01, 1, rtol=1e-5)
    assert logs.max() <= np.log(100)


def test_an_atom_among_rounded_numbers_has_a_probability():
    """Three values a tenth apart, of which the second is an atom: all of them together are sure."""
    rest = np.array([0.2, 0.5, 0.3])
    x = jnp.zeros((3, 6)).at[1, 0].set(1).at[:, 4].set(-np.log(0.1))
    log_shares = jnp.log(jnp.tile(jnp.asarray([0.6, 0.4]), (3, 1)))
    logs = _with_atoms(log_shares, x, jnp.log(rest / 0.1), rounded=True)
    np.testing.assert_allclose(np.exp(logs) @ np.array([0.1, 1, 0.1]), 1, rtol=1e-5)


@pytest.mark.parametrize("column", [TAIL, ZEROS])
def test_densities_integrate_to_one_less_the_atoms(column):
    number, _ = number_of(column)
    s = np.linspace(-8, 8, 8001)
    x = number.warp.inverse(s)
    total = integrate.simpson(np.exp(at(column, x)) * np.gradient(x, s), s)
    atoms = np.exp(at(column, number.atoms)).sum() if len(number.atoms) else 0.0
    np.testing.assert_allclose(total + atoms, 1, rtol=5e-3)


def test_the_constant_follows_the_rule_of_succession():
    n = np.sum(~np.isnan(CELLS[:, SAME]))
    expected = [np.log((n + 1) / (n + 2)), -np.log(n + 2)]
    np.testing.assert_allclose(at(SAME, [0, 1]), expected, rtol=1e-5)


def test_training_starts_at_the_shares_of_levels_and_atoms():
    shares = np.asarray(means(ZERO)[1])[:3]
    letters = CELLS[:, LETTER][OBSERVED[:, LETTER]].astype(int)
    np.testing.assert_allclose(shares, np.bincount(letters) / len(letters), atol=3e-3)


def test_the_total_is_the_sum_over_observed_cells_and_placeholders_never_matter():
    """Neither in value nor in slope, whatever they are: even NaN."""

    @jax.jit
    def together(values):
        def total(values):
            return jax.jit(jax.vmap(LIKELIHOOD.total, (0, None, 0)))(values, OUTPUTS, SEEN)

        totals, back = jax.vjp(total, values)
        return totals, jax.jit(jax.vmap(LIKELIHOOD.encoder_input))(values, SEEN), back(totals)[0]

    totals, given, slope = together(VALUES)
    expected = np.where(OBSERVED, log_probs(LIKELIHOOD, VALUES, OUTPUTS), 0).sum(1)
    np.testing.assert_allclose(totals, expected, rtol=1e-5, atol=1e-4)
    other = together(np.where(OBSERVED[..., None], VALUES, np.float32(np.nan)))
    np.testing.assert_array_equal(totals, other[0])
    np.testing.assert_array_equal(given, other[1])
    assert (np.asarray(slope)[~OBSERVED] == 0).all() and np.isfinite(slope).all()


def test_slopes_are_finite_for_odd_values_and_narrow_noise():
    cells = np.nan_to_num(CELLS[:6])
    cells[:, TAIL] = [1e30, -1e30, 1e300, 0, 50, 1e5]
    cells[:, COUNT] = [1e30, 1e9, 0, 1, 1000, 3]
    cells[:, ZEROS] = [1e30, 1e-300, 0, 1, 1e10, 1e-5]
    values = UNITS.to_model(cells)[0]
    narrow = built(sigma=0.0101)

    def total(likelihood, outputs):
        return jax.jit(jax.vmap(likelihood.total, (0, None)))(values, outputs).sum()

    of_weights, of_outputs = eqx.filter_jit(eqx.filter_grad(lambda both: total(*both)))(
        (narrow, OUTPUTS)
    )
    assert np.isfinite(of_outputs).all() and np.isfinite(of_weights.noise.raw).all()
    assert np.isfinite(log_probs(narrow, values, OUTPUTS)).all()


def test_what_is_far_away_is_less_likely_the_farther_it_is():
    for column in (TAIL, ZEROS, COUNT):
        logs = at(column, 10.0 ** np.arange(3, 28))
        assert (np.diff(logs) < 0).all()


def test_the_encoder_sees_scores_and_one_hot_codes():
    seen = np.asarray(jax.jit(jax.vmap(LIKELIHOOD.encoder_input))(VALUES, SEEN))
    assert seen.shape[1:] == LIKELIHOOD.encoder_shape((9,)) and np.abs(seen).max() <= 5
    # Numbers first, then as many ones as there are observed levels and numbers with atoms.
    ones = seen[:, 5:]
    assert set(np.unique(ones)) == {0.0, 1.0}
    with_codes = OBSERVED[:, [LETTER, YES, GRADE, ZEROS, VISITS]].sum(1)
    np.testing.assert_array_equal(ones.sum(1), with_codes)
    assert (seen[~OBSERVED.any(1)] == 0).all()


@pytest.fixture(scope="module")
def drawn():
    keys = jax.random.split(jax.random.key(0), 20_000)
    return np.asarray(jax.jit(jax.vmap(LIKELIHOOD.sample, (None, 0)))(OUTPUTS, keys), float)


def test_draws_follow_the_probabilities(drawn):
    cells = UNITS.to_user(drawn)
    for column, values in ((LETTER, 3), (YES, 2), (GRADE, 3), (COUNT, 30), (VISITS, 30)):
        p = np.exp(at(column, np.arange(values)))
        share = np.bincount(cells[:, column].astype(int), minlength=values)[:values] / len(cells)
        assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / len(cells)) + 1e-4).all()
    p = np.exp(at(SHARE, np.arange(101) / 100)) * 0.01
    share = np.bincount(np.round(100 * cells[:, SHARE]).astype(int), minlength=101) / len(cells)
    assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / len(cells)) + 1e-4).all()
    assert (cells[:, SAME] == 0).all()
    assert abs(np.mean(cells[:, ZEROS] == 0) - np.exp(at(ZEROS, [0.0]))[0]) < 0.02


def test_draws_of_numbers_are_normal_in_normal_scores(drawn):
    number = UNITS.numbers[0]
    scores = number.warp.score(UNITS.to_user(drawn)[:, TAIL])
    location = float(OUTPUTS[LIKELIHOOD.layout.of_numbers.index(TAIL)])
    assert stats.kstest((scores - location) / 0.6, "norm").pvalue > 1e-3


def number_of(column):
    """The number column, and its location among the outputs."""
    of_numbers = [j for j, (kind, _, _) in enumerate(UNITS.forms) if kind == "number"]
    return UNITS.numbers[of_numbers.index(column)], LIKELIHOOD.layout.of_numbers.index(column)


def test_the_way_back_from_normal_scores_is_that_of_the_units():
    """In float32, in the middle, in the tails and at the bounds."""
    scores = np.linspace(-7, 7, 401, dtype=np.float32)
    every = np.repeat(scores[:, None], len(UNITS.numbers), 1)
    got = np.asarray(eqx.filter_jit(LIKELIHOOD.warps.inverse)(jnp.asarray(every)), float)
    for column in (TAIL, ZEROS, COUNT, SHARE, VISITS):
        number, at_output = number_of(column)
        low, high = number.to_model(np.array([number.low, number.high]))
        expected = np.clip(number.to_model(number.warp.inverse(scores)), low, high)
        # A float32 score is good to 4e-7, which a steep T⁻¹ enlarges.
        allowed = 2e-6 * np.abs(np.gradient(expected, scores)) + 1e-5 * np.abs(expected) + 1e-5
        assert (np.abs(got[:, at_output] - expected) <= allowed).all(), column


@pytest.mark.parametrize("lower", [0.0, 1.8])
def test_means_are_sums_and_integrals_over_the_probabilities(lower):
    outputs = OUTPUTS.at[: len(UNITS.numbers)].add(-lower)
    mean = np.asarray(means(outputs)[0], float)
    for column in (COUNT, SHARE, VISITS):
        number, _ = number_of(column)
        x = np.arange(400.0) if COLUMNS[column].step == 1 else np.arange(101) / 100
        p = np.exp(at(column, x, outputs)) * COLUMNS[column].step
        np.testing.assert_allclose(mean[column], p @ number.to_model(x), atol=1e-2)
    number, at_output = number_of(ZEROS)
    eps = np.linspace(-6, 6, 4001)
    ends = number.warp.spline.s[[0, -1]]  # a value beyond the training column counts as its end
    scores = np.clip(float(outputs[at_output]) + 0.6 * eps, *ends)
    rest = number.to_model(number.warp.inverse(scores))
    zero = np.exp(at(ZEROS, [0.0], outputs))[0]
    expected = (1 - zero) * integrate.trapezoid(rest * stats.norm.pdf(eps), eps)
    np.testing.assert_allclose(mean[ZEROS], expected, rtol=5e-3)
    for column in (LETTER, YES, GRADE):
        levels = np.arange(len(COLUMNS[column].levels))
        assert mean[column] == np.argmax(at(column, levels, outputs))


def test_expectations_become_the_cells_of_the_mean():
    mean, expectation = means(OUTPUTS)
    np.testing.assert_allclose(
        UNITS.cells_of_expectation(np.asarray(expectation)[None])[0], mean, rtol=1e-6
    )


def test_only_noise_and_cut_points_are_trained():
    marks = trainable(LIKELIHOOD)
    assert marks.noise.raw is marks.cuts[0].first is marks.cuts[0].raw is True
    assert sum(jax.tree.leaves(marks)) == 3


@pytest.mark.parametrize("columns", [[LETTER, YES], [TAIL], [SAME], [COUNT], [SAME, VISITS]])
def test_a_table_may_have_some_kinds_only(columns):
    """Traced, not compiled."""
    units = TableUnits.of_cells(CELLS[:, columns], [COLUMNS[j] for j in columns])
    likelihood = built(units)
    outputs = jnp.ones(likelihood.output_shape((len(columns),)))
    x = jnp.asarray(units.to_model(CELLS[:1, columns])[0][0])

    def everything():
        drawn = likelihood.sample(outputs, jax.random.key(0))
        mean, given = likelihood.mean(outputs), likelihood.encoder_input(x, x == x)
        expected = likelihood.most_probable(likelihood.expectation(outputs))
        return drawn, mean, expected, likelihood.total(x, outputs, x == x), given

    *of_columns, total, given = eqx.filter_eval_shape(everything)
    assert all(each.shape == (len(columns),) for each in of_columns)
    assert total.shape == () and given.shape == likelihood.encoder_shape(())


def test_arrays_without_a_schema_are_refused_in_one_line():
    with pytest.raises(logvar.LogvarError, match="'mixed' is for tables"):
        logvar.likelihoods.get("mixed").build((3,))
