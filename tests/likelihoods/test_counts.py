"""Counts: log p and its slopes against mpmath, libraries, draws, and rows that are refused."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar import likelihoods
from logvar.distributions.counts import (
    Positive,
    negative_binomial_log_prob,
    negative_binomial_log_prob_zero,
    poisson_log_prob,
    zero_inflated_log_prob,
)
from tests.cases import slow

NAMES = ("poisson", "negative-binomial", "zero-inflated-negative-binomial")
COUNTS = (0, 1, 2, 7, 300, 99_999, 1_000_000)
NUMBERS = np.float32([1e-8, 1e-4, 0.03, 0.9, 2.5, 40, 1e3, 0.97e6, 1e6, 1e8])
GRID = np.array(list(itertools.product(COUNTS, NUMBERS, NUMBERS)), np.float32).T
"""Counts, means and inverse dispersions. mpmath sees the same float32 numbers."""
ROWS = np.random.default_rng(0).poisson(4.0, size=(40, 5)).astype(np.float32)
SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
SIZED = (
    np.random.default_rng(1)
    .poisson(np.random.default_rng(2).lognormal(4, 0.8, (120, 1)) * SHARES)
    .astype(np.float32)
)
"""Rows of the same shares whose totals vary by a factor of ten."""
SIZED[:, 0] += 1


@pytest.fixture(scope="module")
def exact():
    """log p, its slope in log m and its slope in log θ, (3, cases), and Poisson's log p."""
    with mpmath.workdps(50):
        found = []
        for x, m, t in GRID.T:
            x, m, t = (mpmath.mpf(float(v)) for v in (x, m, t))
            factorial, share = mpmath.loggamma(x + 1), mpmath.log(t / (t + m))
            log_p = mpmath.loggamma(x + t) - mpmath.loggamma(t) - factorial
            log_p += t * share + x * mpmath.log(m / (t + m))
            psi = mpmath.psi(0, x + t) - mpmath.psi(0, t)
            slope = t * (psi + share + (m - x) / (t + m))
            poisson = x * mpmath.log(m) - m - factorial
            found.append([float(v) for v in (log_p, (x - m) * t / (t + m), slope, poisson)])
    return np.array(found).T


def positive(value):
    return Positive(jnp.asarray(value), jnp.log(jnp.asarray(value)))


def close(found, expected):
    """Within 1e-5, relative, or absolute for numbers below 1."""
    error = np.abs(np.asarray(found, float) - expected) / np.maximum(np.abs(expected), 1)
    assert error.max() < 1e-5, (error.max(), GRID[:, error.argmax()])


def test_log_p_and_its_slopes_equal_mpmath_s_in_float32(exact):
    x, m, t = map(jnp.asarray, GRID)

    def total(log_m, log_t):
        each = negative_binomial_log_prob(x, Positive(m, log_m), Positive(t, log_t))
        return each.sum(), each

    of_both = jax.value_and_grad(total, (0, 1), has_aux=True)
    (_, log_p), slopes = jax.jit(of_both)(jnp.log(m), jnp.log(t))
    for found, expected in zip((log_p, *slopes), exact, strict=False):
        close(found, expected)
    close(jax.jit(poisson_log_prob)(x, positive(m)), exact[3])
    slope = jax.jit(jax.grad(lambda log_m: poisson_log_prob(x, Positive(m, log_m)).sum()))(
        jnp.log(m)
    )
    close(slope, (GRID[0] - GRID[1]).astype(float))


@jax.jit
def negative_binomial(x, log_m, log_t):
    return negative_binomial_log_prob(
        x, Positive(jnp.exp(log_m), log_m), Positive(jnp.exp(log_t), log_t)
    )


def test_poisson_is_the_limit_and_log_p_goes_on_beyond_what_float32_holds():
    x = jnp.asarray([0.0, 3.0, 500.0])
    full = lambda value: jnp.full(3, value, jnp.float32)  # noqa: E731
    limit = negative_binomial(x, full(np.log(20)), full(60.0))
    np.testing.assert_allclose(limit, stats.poisson.logpmf(x, 20), rtol=1e-5)
    # m = e⁻²⁰⁰, θ = 1: x·log m + log Γ(x+1)/x!; θ = e⁻²⁰⁰, m = 1: log θ − log x; m = e²⁰⁰, θ = 1.
    expected = {(-200, 0): -200 * x, (0, -200): [0, -200 - np.log(3), -200 - np.log(500)]}
    for (log_m, log_t), log_p in (expected | {(200, 0): full(-200)}).items():
        found = negative_binomial(x, full(log_m), full(log_t))
        np.testing.assert_allclose(found[1:], log_p[1:], rtol=1e-2)
        assert found[0] == pytest.approx(float(log_p[0]), abs=1e-6)
    tiny = jax.jit(poisson_log_prob)(x, Positive(jnp.zeros(3), full(-200)))
    np.testing.assert_allclose(tiny, stats.poisson.logpmf(x, np.exp(-200)), rtol=1e-5, atol=1e-38)


def test_zero_inflation_equals_its_sum():
    logits, means = np.meshgrid(np.linspace(-30, 30, 13), np.float32([1e-7, 0.3, 50]))
    with mpmath.workdps(40):
        zeros = [(2 / (2 + mpmath.mpf(float(m)))) ** 2 for m in means.flat]
        shares = [1 / (1 + mpmath.exp(-l)) for l in logits.flat]
        pairs = list(zip(shares, zeros, strict=True))
        expected = [float(mpmath.log(s + (1 - s) * zero)) for s, zero in pairs]
        slopes = [float(s * (1 - s) * (1 - z) / (s + (1 - s) * z)) for s, z in pairs]
        of_mean = [float(-(1 - s) * z / (s + (1 - s) * z)) for s, z in pairs]
    m, theta = jnp.asarray(means.ravel()), positive(jnp.float32(2.0))

    def log_p(logit, log_m, x=0.0):
        mean, x = Positive(m, log_m), jnp.full_like(logit, x)
        log_count = negative_binomial_log_prob(x, mean, theta)
        zero = negative_binomial_log_prob_zero(mean, theta)
        each = zero_inflated_log_prob(x, log_count, zero, logit)
        return each.sum(), each

    logit = jnp.asarray(logits.ravel(), jnp.float32)
    of_both = jax.jit(jax.value_and_grad(log_p, (0, 1), has_aux=True))
    (_, found), found_slopes = of_both(logit, jnp.log(m), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found_slopes[0], slopes, rtol=1e-5)
    # In log m: (1 − π)·NB(0)/p(0)·d log NB(0)/d log m.
    of_mean = np.array(of_mean) * (2 * means / (2 + means)).ravel()
    np.testing.assert_allclose(found_slopes[1], of_mean, rtol=1e-5)
    (_, found), _ = of_both(logit, jnp.log(m), 4.0)
    shifted = stats.nbinom.logpmf(4, 2, 2 / (2 + means.astype(float))) - np.logaddexp(0, logits)
    np.testing.assert_allclose(found, shifted.ravel(), rtol=1e-5)


def built(name, **settings):
    spec = likelihoods.get(name, **settings).decided(ROWS)
    return spec.build(ROWS.shape[1:])


def some_outputs(likelihood):
    return jax.random.normal(jax.random.key(3), likelihood.output_shape((5,)))


@pytest.mark.parametrize("dispersion", ["shared", "per-feature", "per-example"])
def test_the_mean_is_the_row_s_total_times_a_softmax(dispersion):
    likelihood = built("negative-binomial", dispersion=dispersion, inverse_dispersion=3.0)
    outputs = some_outputs(likelihood)
    mean = np.asarray(jax.nn.softmax(outputs[0] if dispersion == "per-example" else outputs))
    theta = 3 * np.exp(np.asarray(outputs[1])) if dispersion == "per-example" else np.full(5, 3.0)
    x = ROWS[7]
    expected = stats.nbinom.logpmf(x, theta, theta / (theta + x.sum() * mean))
    found = eqx.filter_jit(likelihood.log_prob)(jnp.asarray(x), outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    shape = {"shared": (), "per-feature": (5,), "per-example": ()}[dispersion]
    assert likelihood.dispersion.raw.shape == shape
    assert likelihood.dispersion.trains == (dispersion != "per-example")
    # Without x, the library is the median of the training rows; or the one that is given.
    median = np.median(ROWS.sum(1))
    np.testing.assert_allclose(likelihood.mean(outputs), median * mean, rtol=1e-5)
    np.testing.assert_allclose(likelihood.with_library(9).mean(outputs), 9 * mean, rtol=1e-5)


@pytest.mark.parametrize("name", [NAMES[0], slow(NAMES[1]), NAMES[2]])
def test_log_p_of_each_count_is_at_the_row_s_total_or_at_a_given_library(name):
    likelihood, x = built(name), ROWS[3].copy()
    x[[0, 4]] = 0
    outputs = some_outputs(likelihood)
    share = np.asarray(jax.nn.softmax(outputs[0] if likelihood.heads > 1 else outputs), float)
    zero = 1 / (1 + np.exp(-np.asarray(outputs[-1], float))) if name == NAMES[2] else 0.0
    log_prob = eqx.filter_jit(lambda likelihood: likelihood.log_prob(jnp.asarray(x), outputs))
    for of, library in ((likelihood, x.sum()), (likelihood.with_library(40.0), 40.0)):
        m = library * share
        p = stats.poisson(m) if name == NAMES[0] else stats.nbinom(10, 10 / (10 + m))
        expected = np.log(zero * (x == 0) + (1 - zero) * p.pmf(x))
        np.testing.assert_allclose(log_prob(of), expected, rtol=1e-4)


@pytest.mark.parametrize("name", [NAMES[0], slow(NAMES[1]), NAMES[2]])
def test_the_library_is_the_total_of_the_observed_cells(name):
    likelihood, observed = built(name), jnp.asarray([True, False, True, True, True])
    outputs, x = some_outputs(likelihood), jnp.asarray(ROWS[3])
    without = jnp.where(observed, x, 0)
    # The row without its missing cell is a row of the other features alone.
    seen = np.asarray(observed)
    of_four = likelihoods.get(name).decided(ROWS[:, seen]).build((4,))
    expected = eqx.filter_jit(of_four.total)(x[seen], outputs[..., seen])
    total = eqx.filter_jit(likelihood.total)
    for placeholder in (0.0, 7.0, 1e6):
        other = jnp.where(observed, x, placeholder)
        assert total(other, outputs, observed) == pytest.approx(float(expected), 1e-6)
        seen = likelihood.encoder_input(other, observed)
        np.testing.assert_allclose(seen, np.log1p(without), rtol=1e-6)
    slopes = eqx.filter_jit(jax.grad(lambda *args: likelihood.total(*args), (0, 1)))
    of_x, of_outputs = slopes(jnp.where(observed, x, jnp.nan), outputs, observed)
    assert of_x[1] == 0 and np.isfinite(of_outputs).all() and np.any(of_outputs)
    nothing = jnp.zeros(5, bool)
    assert total(x, outputs, nothing) == 0
    for of_row in (slopes(x, outputs, nothing), slopes(0 * x, outputs, ~nothing)):
        assert all(np.isfinite(slope).all() for slope in of_row)


@pytest.mark.parametrize("name", [NAMES[0], slow(NAMES[1]), NAMES[2]])
def test_means_and_draws_given_a_row_are_at_its_own_library(name):
    likelihood, observed = built(name), np.array([True, False, True, True, True])
    outputs = some_outputs(likelihood)
    location = np.asarray(outputs[0] if likelihood.heads > 1 else outputs, float)
    inflation = 1 / (1 + np.exp(np.asarray(outputs[-1]))) if name == NAMES[2] else 1.0
    x = ROWS[3]
    share = np.exp(location) / np.exp(location).sum()
    given = likelihood.given(jnp.asarray(x))
    np.testing.assert_allclose(given.mean(outputs), inflation * x.sum() * share, rtol=1e-5)
    some = likelihood.given(jnp.asarray(np.where(observed, x, 99.0)), jnp.asarray(observed))
    total = x[observed].sum()
    expected = total * share / share[observed].sum()  # at the missing cell, too
    np.testing.assert_allclose(some.mean(outputs), inflation * expected, rtol=1e-5)
    assert np.sum(some.rates(jnp.asarray(location, jnp.float32)).value[observed]) == pytest.approx(
        total, rel=1e-5
    )
    again = some.given(jnp.ones(5))
    np.testing.assert_array_equal(again.mean(outputs), some.mean(outputs))
    # Of a row without an observed cell nothing is known: its library is the typical one.
    nothing = likelihood.given(jnp.asarray(x), jnp.zeros(5, bool))
    np.testing.assert_allclose(nothing.mean(outputs), likelihood.mean(outputs), rtol=1e-5)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = eqx.filter_jit(jax.vmap(lambda key: some.sample(outputs, key)))(keys)
    spread = np.asarray(drawn, float).std(0) / np.sqrt(len(keys))
    assert (np.abs(np.mean(drawn, 0, dtype=float) - some.mean(outputs)) < 5 * spread).all()


def test_a_learned_library_is_a_latent_with_a_log_normal_prior():
    rows = ROWS.copy()
    rows[:, 1] = np.where(np.arange(len(rows)) % 2, np.nan, rows[:, 1])
    spec = likelihoods.get(NAMES[1], library="learned", dispersion="per-example")
    logs = np.log(ROWS.sum(1, dtype=float))
    found = spec.decided(ROWS)
    assert found.typical_library == pytest.approx(np.exp(logs.mean()), rel=1e-6)
    assert found.library_spread == pytest.approx(logs.std(), rel=1e-6)
    # A row's total over 4 of 5 cells stands for a total of 5/4 of it.
    logs = np.log(np.nansum(rows, 1) * 5 / np.isfinite(rows).sum(1))
    assert spec.decided(rows).library_spread == pytest.approx(logs.std(), rel=1e-6)
    assert found.decided(rows) == found
    spec.check_new(0 * ROWS)  # without a count, the library is small, and no more
    likelihood = found.build((5,))
    raw = jax.random.normal(jax.random.key(1), (2, 5))
    outputs = likelihood.with_latents(raw, jnp.asarray([1.5]))
    library = found.typical_library * np.exp(1.5 * found.library_spread)
    np.testing.assert_allclose(
        likelihood.mean(outputs), library * np.asarray(jax.nn.softmax(raw[0])), rtol=1e-5
    )
    np.testing.assert_array_equal(outputs[1], raw[1])
    assert likelihood.given(jnp.asarray(ROWS[0])) is not None and likelihood.latents == 1
    observed = jnp.asarray([True, False, True, True, True])
    each = likelihood.log_prob(jnp.asarray(ROWS[0]), outputs)
    total = likelihood.total(jnp.asarray(ROWS[0]), outputs, observed)
    assert total == pytest.approx(float(each[observed].sum()), rel=1e-6)


@pytest.fixture(scope="module")
def learned():
    return logvar.VAE(
        latent_dim=2, network="mlp(hidden=[8])", likelihood="poisson(library=learned)",
        epochs=60, batch_size=20, learning_rate=1e-2, validation_fraction=0.0, random_state=0,
    ).fit(SIZED)  # fmt: skip


def test_the_posterior_of_a_learned_library_finds_the_totals(learned):
    assert learned.model_.decoder(jnp.zeros(2)).shape == (5,)
    codes = learned.transform(SIZED)
    assert codes.shape == (len(SIZED), 3)
    spec = learned.fitted_.likelihood
    library = np.log(spec.typical_library) + spec.library_spread * codes[:, -1]
    assert np.abs(library - np.log(SIZED.sum(1))).mean() < 0.1
    means = learned.reconstruct(SIZED)
    np.testing.assert_allclose(means.sum(1), np.exp(library), rtol=1e-4)
    np.testing.assert_allclose(learned.inverse_transform(codes), means, rtol=1e-4)
    # The library's KL is in the ELBO, whose value with noise given is a direct computation.
    eps, x = np.zeros((1, 3), np.float32), SIZED[:1]
    q = learned.posterior(x)
    m = means[0].astype(float)
    kl = 0.5 * np.sum(np.square(q.sigma) + np.square(codes[0]) - 1) - np.sum(np.log(q.sigma))
    expected = stats.poisson.logpmf(x[0], m).sum() - kl
    assert learned.elbo(x, eps, analytic_kl=True)[0] == pytest.approx(expected, rel=1e-3)
    # Draws have libraries of the prior: log-normal, with the training rows' mean and spread.
    drawn = np.log(learned.sample(2000).sum(1))
    assert drawn.mean() == pytest.approx(np.log(spec.typical_library), abs=0.1)
    assert drawn.std() == pytest.approx(spec.library_spread, rel=0.15)


@pytest.fixture(scope="module")
def observed():
    rows = SIZED.copy()
    rows[::3, 1] = np.nan
    return logvar.VAE(
        latent_dim=1, network="mlp(hidden=[4])", likelihood="poisson",
        epochs=30, batch_size=20, learning_rate=1e-2, validation_fraction=0.0, random_state=0,
    ).fit(rows), rows  # fmt: skip


def test_rows_are_rebuilt_and_filled_at_their_own_totals(observed):
    vae, rows = observed
    totals = np.nansum(rows, 1)
    rebuilt, seen = vae.reconstruct(rows), np.isfinite(rows)
    np.testing.assert_allclose(np.where(seen, rebuilt, 0).sum(1), totals, rtol=1e-4)
    # The features' shares do not depend on the total here, so a cell holds what the others say.
    filled = vae.impute(rows, n_samples=50)[::3, 1]
    np.testing.assert_allclose(filled, totals[::3] * SHARES[1] / (1 - SHARES[1]), rtol=0.35)
    assert np.corrcoef(filled, totals[::3])[0, 1] > 0.99
    drawn = vae.impute(rows, n_samples=50, draws=1)[0][::3, 1]
    assert (drawn == np.round(drawn)).all() and np.corrcoef(drawn, totals[::3])[0, 1] > 0.8
    errors = ((rebuilt - rows) ** 2)[1::3].mean()
    assert vae.evaluate(rows[1::3], n_importance=2)["squared_error"].value == pytest.approx(
        errors, rel=1e-3
    )


@pytest.mark.parametrize("name", [NAMES[0], slow(NAMES[1]), slow(NAMES[2])])
def test_without_a_library_means_start_at_the_training_rows(name):
    likelihood = built(f"{name}(library=none)", scale="softplus")
    start = np.median(ROWS.sum(1)) / 5
    zeros = jnp.zeros(likelihood.output_shape((5,)))
    zeros = zeros.at[-1].set(-30) if name.startswith("zero") else zeros
    np.testing.assert_allclose(likelihood.mean(zeros), start, rtol=1e-5)
    one, other = jnp.asarray(ROWS[0]), jnp.asarray(ROWS[0]).at[0].add(5)
    outputs = some_outputs(likelihood)
    log_prob = eqx.filter_jit(likelihood.log_prob)
    same = [log_prob(x, outputs)[1:] for x in (one, other)]
    np.testing.assert_array_equal(*same)


def test_draws_have_the_mean_and_variance_of_the_density():
    cases = np.array([(1e-3, 1e-2), (3.0, 0.5), (3e4, 200.0), (1e6, 1e8), (1e12, 10.0)])
    n, zeros, (mean, theta) = 2_000, np.array([0.4, 0.4, 1e-9, 1e-9, 0.1]), cases.T
    settings = {"library": "none", "typical_library": 5.0 * n, "dispersion": "per-example"}
    settings["inverse_dispersion"] = 1.0  # so that outputs are log θ themselves
    likelihood = likelihoods.get(NAMES[2], **settings).build((n, 5))
    raw = np.log([mean, theta, zeros / (1 - zeros)])
    outputs = jnp.asarray(np.repeat(raw[:, None], n, 1), jnp.float32)
    drawn = np.asarray(eqx.filter_jit(likelihood.sample)(outputs, jax.random.key(1)), float)
    assert np.isfinite(drawn).all() and (drawn >= 0).all() and (drawn == np.round(drawn)).all()
    expected = (1 - zeros) * mean
    np.testing.assert_allclose(likelihood.mean(outputs)[0], expected, rtol=1e-4)
    variance = (1 - zeros) * (mean + mean**2 / theta + zeros * mean**2)
    assert (np.abs(drawn.mean(0) - expected) < 5 * np.sqrt(variance / n) + 1e-5 * mean).all()
    # With a mean of 1e-3, the variance is that of a handful of draws.
    np.testing.assert_allclose(drawn[:, 1:].var(0), variance[1:], rtol=0.2)


def test_rows_that_are_no_counts_are_refused_with_their_place():
    rows = ROWS.copy()
    rows[4, 2] = -1
    spec = likelihoods.get("negative-binomial")
    with pytest.raises(logvar.LogvarError, match=r"got -1 at row 4, column 2 .*0, 1, 2"):
        spec.decided(rows)
    rows[4, 2] = 2**24 + 2
    with pytest.raises(logvar.LogvarError, match=r"got 16777218 at row 4.* up to 16,777,216"):
        spec.decided(rows)
    rows[4, 2] = 1.5
    with pytest.raises(logvar.LogvarError, match=r"got 1.5 at row 4, column 2"):
        spec.decided(ROWS).check_new(rows)
    with pytest.raises(logvar.LogvarError, match=r"got 2.0000001 at row 4, column 2"):
        spec.check_new(np.where(rows == 1.5, 2.0000001, rows.astype(float)))  # not "2"
    rows[4, 2] = np.nan
    spec.decided(rows)
    rows[4] = [0, 0, np.nan, 0, 0]
    with pytest.raises(logvar.LogvarError, match=r"row 4 .*without a count \(1 such row\)"):
        spec.check_new(rows)
    free = likelihoods.get("negative-binomial", library="none")
    free.check_new(rows)
    with pytest.raises(logvar.LogvarError, match="40 training rows, all counts 0"):
        free.decided(0 * ROWS)
    with pytest.raises(logvar.LogvarError, match="no typical library yet"):
        spec.build((5,))


def test_rows_without_counts_and_of_equal_totals():
    rows = np.concatenate([0 * ROWS, ROWS[:9]])
    found = likelihoods.get("poisson", library="none").decided(rows)
    assert found.typical_library == np.median(ROWS[:9].sum(1))  # not 0, the median of all rows
    found = likelihoods.get("poisson", library="learned").decided(rows)
    assert found.typical_library == pytest.approx(stats.gmean(ROWS[:9].sum(1)), rel=1e-6)
    equal = likelihoods.get("poisson", library="learned").decided(np.full((4, 5), 3.0))
    assert equal.library_spread == 0.01 and equal.typical_library == pytest.approx(15)
    for library, scored in (("observed", len(rows) - 40), ("learned", 49), ("none", 49)):
        assert likelihoods.get("poisson", library=library).can_score(rows).sum() == scored


@pytest.mark.slow
def test_a_small_fit_learns_the_dispersion_and_draws_counts():
    vae = logvar.VAE(
        latent_dim=1, network="mlp(hidden=[4])", likelihood="zero-inflated-negative-binomial",
        epochs=2, batch_size=20, validation_fraction=0.0, random_state=0,
    ).fit(ROWS)  # fmt: skip
    theta = vae.model_.likelihood.dispersion
    assert not np.allclose(theta.raw, 0) and theta.raw.shape == (5,)
    drawn = vae.sample(30)
    assert (drawn == np.round(drawn)).all() and drawn.sum() > 0
    assert np.isfinite(vae.score_samples(ROWS[:5], n_samples=3)).all()
    leaves = eqx.filter(vae.model_.likelihood.rates, eqx.is_array)
    assert float(leaves.library) == np.median(ROWS.sum(1))
