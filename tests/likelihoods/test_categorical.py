"""Codes of categories: probabilities, one-hot inputs, and what is no code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import logvar

LEVELS = (3, 1, 4)
LOGITS = np.array([0.3, -1.0, 2.0, 0.7, 1.0, 0.0, -2.0, 0.5])
ENDS = np.cumsum(LEVELS)[:-1]
CODES = np.array(list(itertools.product(*(range(n) for n in LEVELS))), float)


def built(levels=LEVELS, shape=None):
    spec = logvar.likelihoods.get("categorical", levels=list(levels))
    return spec.build((len(levels),) if shape is None else shape)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_log_probabilities_are_scipys(dtype):
    with jax.enable_x64(dtype == "float64"):
        log_prob = jax.vmap(built().log_prob, (0, None))
        got = log_prob(jnp.asarray(CODES, dtype), jnp.asarray(LOGITS, dtype))
        assert got.dtype == dtype
    columns = [special.log_softmax(logits) for logits in np.split(LOGITS, ENDS)]
    expected = [[of[int(c)] for of, c in zip(columns, row, strict=True)] for row in CODES]
    np.testing.assert_allclose(got, expected, rtol=1e-12 if dtype == "float64" else 1e-5, atol=1e-7)
    np.testing.assert_allclose(np.exp(np.sum(got, axis=1, dtype=float)).sum(), 1, rtol=1e-6)


def test_columns_lack_the_levels_of_others():
    likelihood = built()
    probabilities = np.asarray(likelihood.probabilities(jnp.asarray(LOGITS, jnp.float32)))
    there = np.arange(4) < np.array(LEVELS)[:, None]
    assert (probabilities[~there] == 0).all() and (probabilities[there] > 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)


def test_the_encoder_sees_one_hot_columns():
    likelihood = built()
    assert likelihood.encoder_shape((3,)) == likelihood.output_shape((3,)) == (8,)
    for row in CODES:
        parts = np.split(np.asarray(likelihood.encoder_input(jnp.asarray(row, jnp.float32))), ENDS)
        for code, size, part in zip(row, LEVELS, parts, strict=True):
            np.testing.assert_array_equal(part, np.eye(size)[int(code)])


def test_draws_and_the_most_probable_codes():
    likelihood, logits = built(), jnp.asarray(LOGITS, jnp.float32)
    expected = [np.argmax(part) for part in np.split(LOGITS, ENDS)]
    np.testing.assert_array_equal(likelihood.mean(logits), expected)
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.jit(jax.vmap(likelihood.sample, (None, 0)))(logits, keys))
    for column, part in enumerate(np.split(LOGITS, ENDS)):
        p = special.softmax(part)
        share = np.bincount(drawn[:, column].astype(int), minlength=len(p)) / len(drawn)
        assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / len(drawn)) + 1e-12).all()


def test_rows_of_any_shape_have_their_codes_in_order():
    image, flat = built((2, 3, 2, 4), shape=(2, 2)), built((2, 3, 2, 4))
    codes = jnp.asarray([1.0, 2.0, 0.0, 3.0])
    logits = jnp.asarray(np.random.default_rng(0).normal(size=11), jnp.float32)
    of_image = image.log_prob(codes.reshape(2, 2), logits)
    np.testing.assert_array_equal(of_image.reshape(-1), flat.log_prob(codes, logits))
    np.testing.assert_array_equal(image.mean(logits), flat.mean(logits).reshape(2, 2))


def test_extreme_logits_have_the_right_log_probabilities_and_slopes():
    """In float32, with the levels that columns lack: log softmax is 0 or the difference."""
    likelihood = built((2, 3))
    logits = jnp.asarray([1e4, -1e4, -1e4, 1e4, 1e4], jnp.float32)
    for codes, expected, slope in (
        ([0, 1], [0, -np.log(2)], [0, 0, 0, 0.5, -0.5]),
        ([1, 0], [-2e4, -2e4 - np.log(2)], [-1, 1, 1, -0.5, -0.5]),
    ):
        x = jnp.asarray(codes, jnp.float32)
        got = likelihood.log_prob(x, logits)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
        gradient = jax.jit(jax.grad(lambda o, x=x: likelihood.total(x, o)))(logits)
        np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_the_slope_is_one_hot_minus_the_probabilities(float64):
    likelihood = built()
    for row in CODES[::5]:
        x = jnp.asarray(row)
        gradient = jax.jit(jax.grad(lambda o, x=x: likelihood.total(x, o)))(jnp.asarray(LOGITS))
        p = np.concatenate([special.softmax(part) for part in np.split(LOGITS, ENDS)])
        expected = np.asarray(likelihood.encoder_input(x)) - p
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def test_a_code_that_no_column_has_is_not_scored_as_another():
    likelihood = built()
    logits = jnp.asarray(LOGITS, jnp.float32)
    lacks = likelihood.log_prob(jnp.asarray([0.0, 1.0, 0.0]), logits)
    assert lacks[1] == -np.inf
    assert np.isnan(likelihood.log_prob(jnp.asarray([0.0, 0.0, 4.0]), logits)[2])


TABLE = np.array([[0, 1], [1, 2], [2, 0], [0, 0], [1, 1], [2, 2]])


def vae(likelihood="categorical", **settings):
    settings = {"epochs": 1, "validation_fraction": 0, "network": "mlp(hidden=[3])"} | settings
    return logvar.VAE(1, likelihood=likelihood, **settings)


def changed(value, row=3, column=1):
    table = TABLE.astype(float)
    table[row, column] = value
    return table


FROM_3 = "categorical(levels=[3, 3])"


@pytest.mark.parametrize(
    ("likelihood", "rows", "says"),
    [
        ("categorical", changed(0.5), "got 0.5 at row 3, column 1"),
        ("categorical", changed(-1), "got -1 at row 3, column 1"),
        ("categorical", changed(10_000), "got 10000 at row 3, column 1.*0 to 9999"),
        (FROM_3, changed(3), "got 3 at row 3, column 1.*a code from 0 to 2"),
        (FROM_3, changed(-1), "got -1 at row 3, column 1.*a code from 0 to 2"),
        (FROM_3, changed(1.5), "got 1.5 at row 3, column 1.*a code from 0 to 2"),
        ("categorical(levels=[3])", TABLE, "levels for 1 columns, and the rows have 2"),
        ("categorical(levels=[3, 3, 3])", TABLE, "levels for 3 columns, and the rows have 2"),
        ("categorical(levels=[3, 0])", TABLE, "levels is .* expected at least 1"),
        ("categorical(levels=[3, 2.5])", TABLE, "levels is .* expected a list"),
    ],
)
def test_what_is_no_code_is_one_line_at_fit(likelihood, rows, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        vae(likelihood).fit(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("likelihood", "value", "says"),
    [
        (FROM_3, 3, "got 3 at row 3, column 1.*a code from 0 to 2"),
        ("categorical", -1, "got -1 at row 3, column 1"),
    ],
)
def test_held_out_rows_have_to_be_codes_as_well(likelihood, value, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        vae(likelihood).fit(TABLE, validation_data=changed(value))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def fitted():
    return vae().fit(TABLE)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (changed(3), "got 3 at row 3, column 1.*a code from 0 to 2"),
        (changed(-1), "got -1 at row 3, column 1.*a code from 0 to 2"),
        (changed(0.5), "got 0.5 at row 3, column 1.*a code from 0 to 2"),
        (np.zeros((4, 3)), "X has 3 features.*expecting 2 features"),
    ],
)
@pytest.mark.parametrize("method", ["score_samples", "transform"])
def test_what_is_no_code_is_one_line_at_scoring(fitted, method, rows, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        getattr(fitted, method)(rows)
    assert "\n" not in str(caught.value)


def test_levels_come_from_training_and_held_out_rows(fitted):
    assert fitted.decisions_.likelihood == "categorical(levels=[3, 3])"
    assert np.isfinite(fitted.score_samples(TABLE, n_samples=3)).all()
    drawn = fitted.sample(50)
    assert set(np.unique(drawn)) <= {0, 1, 2} and drawn.shape == (50, 2)
    spec = logvar.likelihoods.get("categorical").decided(TABLE, TABLE[:, ::-1] + np.array([0, 4]))
    assert spec.levels == (3, 7)


@pytest.mark.parametrize("all_rows", [True, False], ids=["nowhere", "not in training rows"])
def test_a_column_without_a_code_is_named(all_rows):
    codes = np.random.default_rng(0).integers(0, 3, (40, 3)).astype(float)
    codes[:, 1] = np.nan
    held_out = np.where(np.isnan(codes), np.nan if all_rows else 1.0, codes)[:5]
    vae = logvar.VAE(2, likelihood="categorical", network="mlp(hidden=[4])", epochs=1)
    with pytest.raises(logvar.LogvarError, match="no value in any of 40 rows in column 1:"):
        vae.fit(codes, validation_data=held_out)
    with pytest.raises(
        logvar.LogvarError, match="no value in any of 40 rows in column 1:"
    ) as raised:
        logvar.compare(codes, likelihood="categorical", seeds=2, network="mlp(hidden=[4])")
    assert "\n" not in str(raised.value)


def test_held_out_rows_need_no_code_in_each_column():
    codes = np.random.default_rng(0).integers(0, 3, (40, 3)).astype(float)
    held_out = codes[:5].copy()
    held_out[:, 1] = np.nan
    vae = logvar.VAE(2, likelihood="categorical", network="mlp(hidden=[4])", epochs=1)
    vae.fit(codes, validation_data=held_out)
    assert vae.decisions_.likelihood == "categorical(levels=[3, 3, 3])"


def test_levels_of_a_column_without_a_value_cannot_be_found():
    with pytest.raises(logvar.LogvarError, match="no value in column 1: drop it"):
        logvar.likelihoods.get("categorical").decided(np.array([[1.0, np.nan], [0.0, np.nan]]))
