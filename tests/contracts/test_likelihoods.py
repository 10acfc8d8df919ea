"""Every registered likelihood and noise mode walks into this suite by itself."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import logvar
from logvar import likelihoods
from logvar.likelihoods import LIKELIHOODS
from logvar.likelihoods.noise import MODES
from tests.cases import some

ROWS = np.random.default_rng(0).integers(0, 256, size=(50, 3)).astype(np.float32)
LEVELS = (2, 5, 3)
"""Of the columns of codes, whose last levels all appear in `rows_of`."""
COUNTS = ("poisson", "negative-binomial", "zero-inflated-negative-binomial")
DISCRETE = {
    "bernoulli": np.arange(2.0),
    "discretized-logistic": np.arange(256.0),
    "categorical": np.arange(float(max(LEVELS))),
} | dict.fromkeys(COUNTS, np.arange(400.0))
NAMES = [name for name in LIKELIHOODS if name != "mixed"]
"""`mixed` is not for arrays: tests/likelihoods/test_mixed.py holds it to the same."""
WITH_NOISE = [name for name in NAMES if "noise" in LIKELIHOODS.settings(name)]
WITHOUT = [name for name in NAMES if name not in WITH_NOISE]
LOG_FACTOR = np.log(ROWS.std(0, dtype=float))


def rows_of(name):
    """Rows that a likelihood of this name scores."""
    if name == "categorical":
        return ROWS % np.asarray(LEVELS, np.float32)
    if name in COUNTS:
        return ROWS % 5
    if name == "continuous-bernoulli":
        return ROWS / 255
    return ROWS % 2 if name == "bernoulli" else ROWS


def built(name, **settings):
    if name in COUNTS:  # given its total, a row of counts has no probability of its own
        settings["library"] = "none"
    spec = likelihoods.get(name, **settings).decided(rows_of(name))
    likelihood = spec.build(ROWS.shape[1:], LOG_FACTOR if spec.standardizes else 0.0)
    wide = jnp.zeros(()).dtype if jax.config.jax_enable_x64 else jnp.float32
    return jax.tree.map(lambda leaf: leaf.astype(wide) if eqx.is_array(leaf) else leaf, likelihood)


def some_outputs(likelihood, seed=1):
    shape = likelihood.output_shape((3,))
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 0.4)


def log_probs(likelihood, name, outputs):
    """log p of each level of each column, (levels, 3), for a likelihood of levels."""
    levels = jnp.asarray(np.repeat(DISCRETE[name][:, None], 3, 1), outputs.dtype)
    return np.asarray(jax.jit(jax.vmap(lambda x: likelihood.log_prob(x, outputs)))(levels), float)


def allowed(name, mode):
    try:
        return built(name, noise=mode, sigma=0.3)
    except logvar.LogvarError:
        return None


CASES = [(n, m) for n, m in itertools.product(WITH_NOISE, MODES) if allowed(n, m)]
CASES += [(name, "") for name in WITHOUT]


def is_quick(name, mode):
    """Each likelihood with a shared noise and one other, in turn; a normal with all."""
    others = [m for m in MODES if m != "shared"]
    turn = others[WITH_NOISE.index(name) % len(others)] if name in WITH_NOISE else ""
    return name == "normal" or mode in ("shared", turn)


SOME_CASES = some(CASES, quick=[case for case in CASES if is_quick(*case)])


def test_every_mode_is_there_but_where_no_closed_form_is():
    refused = set(itertools.product(WITH_NOISE, MODES)) - set(CASES)
    assert refused == {("student-t", "optimal"), ("discretized-logistic", "optimal")}
    with pytest.raises(logvar.LogvarError, match="no closed form.*noise 'shared'"):
        built("student-t", noise="optimal")


def case(name, mode):
    return built(name) if name in WITHOUT else built(name, noise=mode, sigma=0.3)


@pytest.mark.parametrize(("name", "mode"), SOME_CASES)
def test_the_total_is_the_sum_and_so_is_its_slope(name, mode, float64):
    likelihood, outputs = case(name, mode), some_outputs(case(name, mode))
    x = jnp.asarray(rows_of(name)[0], outputs.dtype)
    np.testing.assert_allclose(
        likelihood.total(x, outputs), jnp.sum(likelihood.log_prob(x, outputs)), rtol=1e-12
    )
    slopes = [
        jax.jit(jax.grad(lambda o, f=f: jnp.sum(f(x, o))))(outputs)
        for f in (likelihood.total, likelihood.log_prob)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "mode"), SOME_CASES)
def test_probabilities_add_up_to_one(name, mode, float64):
    likelihood = case(name, mode)
    outputs = some_outputs(likelihood)
    if name in DISCRETE:
        total = np.exp(log_probs(likelihood, name, outputs)).sum(0)
        np.testing.assert_allclose(total, 1, rtol=1e-9)
        return
    if name == "continuous-bernoulli":  # on [0, 1]: Simpson's rule
        x = np.linspace(0, 1, 1001)[:, None].repeat(3, 1)
        density = np.exp(
            jax.jit(jax.vmap(lambda x: likelihood.log_prob(x, outputs)))(jnp.asarray(x))
        )
        np.testing.assert_allclose(integrate.simpson(density, x=x[:, 0], axis=0), 1, rtol=1e-9)
        return
    sigma, centre = np.asarray(likelihood.sigma(outputs)), np.asarray(likelihood.mean(outputs))
    # x = centre + σ·sinh(t) reaches Student's tails with an even grid in t.
    t = np.linspace(-14, 14, 40_001)
    x = centre + sigma * np.sinh(t)[:, None]
    density = np.exp(jax.jit(jax.vmap(lambda x: likelihood.log_prob(x, outputs)))(jnp.asarray(x)))
    # x is standardized, and the density one of x in the data's own units.
    spread = np.exp(LOG_FACTOR)
    integral = (density * spread * sigma * np.cosh(t)[:, None]).sum(0) * (t[1] - t[0])
    np.testing.assert_allclose(integral, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "mode"), some(CASES, quick=[c for c in CASES if is_quick(*c) and c[0] not in COUNTS])
)
def test_draws_follow_the_density(name, mode):
    """The probability-integral transform of 2,000 draws, or their mean and level, fits."""
    likelihood = case(name, mode)
    outputs = some_outputs(likelihood).astype(jnp.float32)
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: likelihood.sample(outputs, key)))(keys), float)
    mean = np.asarray(likelihood.mean(outputs), float)
    if name == "categorical":  # whose "mean" is the most probable code
        logs = log_probs(likelihood, name, outputs)
        np.testing.assert_array_equal(mean, logs.argmax(0))
        mean = DISCRETE[name] @ np.exp(logs)
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - mean) < 5 * error).all()
    # E[−log p] over the draws is the entropy: another σ than the sampler's would raise it.
    if name in DISCRETE:
        logs = log_probs(likelihood, name, outputs)
        entropy = -(np.exp(logs) * np.maximum(logs, -1e30)).sum(0)
    elif name == "continuous-bernoulli":  # log p is linear in x
        at_mean = likelihood.log_prob(jnp.asarray(mean, jnp.float32), outputs)
        entropy = -np.asarray(at_mean, float)
    else:
        sigma = np.asarray(likelihood.sigma(outputs), float)
        frozen = {"normal": stats.norm(), "laplace": stats.laplace(), "student-t": stats.t(4)}
        entropy = frozen[name].entropy() + np.log(sigma) + LOG_FACTOR
    surprise = -np.asarray(
        jax.jit(jax.vmap(lambda x: likelihood.log_prob(x, outputs)))(
            jnp.asarray(drawn, jnp.float32)
        ),
        float,
    )
    allowed_error = 5 * surprise.std(0) / np.sqrt(len(drawn)) + 1e-3
    assert (np.abs(surprise.mean(0) - entropy) < allowed_error).all()


@pytest.mark.parametrize("name", ["normal", "laplace", "student-t"])
def test_densities_equal_scipys(name, float64):
    likelihood = built(name, noise="fixed", sigma=0.4)
    outputs = some_outputs(likelihood)
    shift, factor = ROWS.mean(0, dtype=float), ROWS.std(0, dtype=float)
    frozen = {
        "normal": stats.norm,
        "laplace": stats.laplace,
        "student-t": lambda **k: stats.t(4, **k),
    }[name]
    x = ROWS[7].astype(float)
    expected = frozen(loc=shift + factor * np.asarray(outputs), scale=0.4 * factor).logpdf(x)
    standardized = jnp.asarray((x - shift) / factor)
    np.testing.assert_allclose(likelihood.log_prob(standardized, outputs), expected, rtol=1e-5)


def test_discretized_logistic_equals_the_difference_of_its_distribution(float64):
    likelihood = built("discretized-logistic", noise="fixed", sigma=0.05)
    outputs = jnp.asarray([-0.9, 0.0, 0.8])
    frozen = stats.logistic(loc=127.5 * (1 + np.asarray(outputs)), scale=127.5 * 0.05)
    for level in (0, 1, 60, 128, 200, 254, 255):
        upper = frozen.cdf(level + 0.5) if level < 255 else 1.0
        lower = frozen.cdf(level - 0.5) if level > 0 else 0.0
        got = likelihood.log_prob(jnp.full(3, float(level)), outputs)
        near = (upper - lower) > 1e-9
        np.testing.assert_allclose(np.asarray(got)[near], np.log((upper - lower)[near]), rtol=1e-6)


def test_discretized_logistic_stays_finite_far_from_its_location():
    """A difference of two numbers that are both 1 in float32 would be log 0."""
    likelihood = built("discretized-logistic", noise="fixed", sigma=1e-3)
    outputs = jnp.full(3, -1.0)
    logs = jax.jit(lambda x, o: likelihood.log_prob(x, o))(
        jnp.asarray([3.0, 100.0, 254.0]), outputs
    )
    assert np.isfinite(logs).all() and (np.diff(logs) < 0).all()
    gradient = jax.jit(jax.grad(lambda o: likelihood.log_prob(jnp.full(3, 254.0), o).sum()))(
        outputs
    )
    assert np.isfinite(gradient).all() and (gradient > 0).all()


@pytest.mark.parametrize("mode", [m for m in MODES if m != "fixed"])
def test_noise_starts_where_asked_and_never_falls_below_its_floor(mode):
    likelihood = built("normal", noise=mode, sigma=0.3, floor=0.05)
    shape = likelihood.output_shape((3,))
    start = likelihood.noise.scale.sigma(likelihood.noise.split(jnp.zeros(shape))[1])
    np.testing.assert_allclose(start, 0.3, rtol=1e-5)
    low = eqx.tree_at(lambda l: l.noise.raw, likelihood, jnp.full_like(likelihood.noise.raw, -1e4))
    sigma = low.noise.scale.sigma(low.noise.split(jnp.zeros(shape))[1])
    np.testing.assert_allclose(sigma, 0.05, rtol=1e-5)
    assert low.noise.share_at_floor(np.asarray(sigma)) == 1


def test_a_fixed_noise_is_exactly_what_was_given():
    assert float(built("normal", noise="fixed", sigma=1e-4).noise.scale.sigma(
        built("normal", noise="fixed", sigma=1e-4).noise.raw)) == pytest.approx(1e-4, rel=1e-5)  # fmt: skip


def test_a_start_below_the_floor_is_refused():
    with pytest.raises(
        logvar.LogvarError, match="sigma of the noise is 0.001, not above its floor 0.01"
    ):
        built("normal", sigma=1e-3, floor=1e-2)


@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_the_optimal_noise_is_the_maximum_likelihood_one(name, float64):
    likelihood = built(name, noise="optimal")
    location = np.asarray(some_outputs(likelihood))
    rows = jnp.asarray(ROWS.astype(float))
    outputs = jnp.asarray(np.repeat(location[None], len(ROWS), 0))
    fitted = likelihood.fitted(jax.jit(jax.vmap(likelihood.statistic))(rows, outputs).mean())

    def total(sigma):
        fixed = built(name, noise="fixed", sigma=sigma)
        return float(jax.jit(jax.vmap(fixed.log_prob))(rows, outputs).sum())

    best = float(fitted.noise.scale.sigma(fitted.noise.raw))
    assert total(best) > max(total(best * 1.01), total(best / 1.01))


def test_with_perfect_reconstructions_the_optimal_noise_is_its_floor():
    fitted = built("normal", noise="optimal", floor=0.02).fitted(jnp.zeros(()))
    assert float(fitted.noise.scale.sigma(fitted.noise.raw)) == pytest.approx(0.02, rel=1e-3)
    free = built("normal", noise="optimal", floor=0.0).fitted(jnp.zeros(()))
    assert np.isfinite(float(free.noise.raw))


@pytest.mark.parametrize(
    "name",
    some(
        logvar.scales.names()[:13], quick=("log-variance", "softplus", "stdplus", "log-precision")
    ),
)
def test_noise_may_be_learned_in_any_scale(name):
    likelihood = built("normal", noise="shared", sigma=0.7, scale=name)
    gradient = jax.jit(jax.grad(lambda l: l.log_prob(jnp.asarray(ROWS[0]), jnp.zeros(3)).sum(),
                        allow_int=True))(likelihood)  # fmt: skip
    assert np.isfinite(float(gradient.noise.raw)) and float(gradient.noise.raw) != 0


def test_codes_have_the_levels_of_their_columns(float64):
    """The levels are the rows' own; each column is a softmax of its logits, seen as one-hot."""
    likelihood = built("categorical")
    assert likelihood.levels == LEVELS
    outputs, x = some_outputs(likelihood), rows_of("categorical")[7]
    columns = np.split(np.asarray(outputs), np.cumsum(LEVELS)[:-1])
    expected = [special.log_softmax(c)[int(code)] for c, code in zip(columns, x, strict=True)]
    np.testing.assert_allclose(likelihood.log_prob(jnp.asarray(x), outputs), expected, rtol=1e-12)
    seen = np.concatenate([np.eye(n)[int(code)] for n, code in zip(LEVELS, x, strict=True)])
    np.testing.assert_array_equal(likelihood.encoder_input(jnp.asarray(x)), seen)
    assert likelihood.encoder_shape((3,)) == likelihood.output_shape((3,)) == seen.shape


def test_codes_beyond_the_levels_are_refused_with_their_place():
    spec = likelihoods.get("categorical").decided(rows_of("categorical"))
    rows = rows_of("categorical")[:4].copy()
    spec.check_new(rows)
    rows[2, 1] = 5
    with pytest.raises(logvar.LogvarError, match="got 5 at row 2, column 1.*from 0 to 4"):
        spec.check_new(rows)
    with pytest.raises(logvar.LogvarError, match="got 0.5 at row 2, column 1"):
        likelihoods.get("categorical").decided(np.where(rows == 5, 0.5, rows))


@pytest.mark.parametrize("name", LIKELIHOODS.names())
def test_the_text_of_a_likelihood_with_what_it_took_from_rows_gives_it_again(name):
    decided = likelihoods.get(name).decided(rows_of(name))
    assert likelihoods.get(likelihoods.describe(decided)) == decided
