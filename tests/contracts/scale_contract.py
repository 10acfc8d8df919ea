"""The contract of a scale, as checks that each take one and raise where it is broken.

The oracle is automatic differentiation and quadrature in float64, never the scale's own other
methods. `CHECKS` runs over the registry; a deliberately faulty scale shows that it catches.
"""

import jax
import jax.numpy as jnp
import numpy as np

import logvar
from logvar.scales import Scale


def reachable(scale: Scale) -> tuple[float, float]:
    """The (smallest, largest) σ that every element reaches."""
    low, high = scale.bounds
    return float(np.max(low)), float(np.min(high))


def some_sigmas(scale: Scale) -> np.ndarray:
    """Standard deviations well inside what the scale reaches, between 1e-4 and 1e4."""
    low, high = reachable(scale)
    # A floor or a ceiling is approached, not touched: there σ no longer determines r in float64.
    return np.geomspace(max(low * 1.001, 1e-4), min(high * 0.999, 1e4), 23)


def some_raws(scale: Scale) -> np.ndarray:
    return np.asarray(scale.raw(some_sigmas(scale)))


def derivative(function, raw):
    return jax.jit(jax.vmap(jax.grad(function)))(jnp.asarray(raw))


def quantities(scale: Scale) -> dict:
    """What a scale computes from a raw output."""
    return {n: getattr(scale, n) for n in ("log_sigma", "sigma", "variance", "kl_excess", "slope")}


def at_once(functions: dict):
    """One compiled program of several functions of the raw output."""
    return jax.jit(lambda raw: {name: function(raw) for name, function in functions.items()})


def inverse_round_trips(scale: Scale) -> None:
    sigma = some_sigmas(scale)
    np.testing.assert_allclose(scale.sigma(scale.raw(sigma)), sigma, rtol=1e-7)


def inverse_refuses_what_is_out_of_reach(scale: Scale) -> None:
    low, high = reachable(scale)
    for sigma in (low, high * 1.01 if np.isfinite(high) else np.inf, -1.0, np.nan):
        try:
            got = scale.raw(sigma)
        except ValueError:
            continue
        raise AssertionError(f"raw({sigma}) gave {got}")
    assert np.isnan(jax.jit(scale.raw)(-1.0))


def all_forms_mean_one_sigma(scale: Scale) -> None:
    raw = some_raws(scale)
    log_sigma = np.asarray(scale.log_sigma(raw))
    np.testing.assert_allclose(scale.sigma(raw), np.exp(log_sigma), rtol=1e-12)
    np.testing.assert_allclose(scale.variance(raw), np.exp(2 * log_sigma), rtol=1e-12)
    direct = 0.5 * (np.expm1(2 * log_sigma) - 2 * log_sigma)
    np.testing.assert_allclose(scale.kl_excess(raw), direct, rtol=1e-7, atol=1e-13)


def slope_is_the_derivative(scale: Scale) -> None:
    raw = some_raws(scale)
    np.testing.assert_allclose(scale.slope(raw), derivative(scale.log_sigma, raw), rtol=1e-9)
    step = 1e-6 * np.maximum(1, np.abs(raw))
    difference = (scale.log_sigma(raw + step) - scale.log_sigma(raw - step)) / (2 * step)
    np.testing.assert_allclose(scale.slope(raw), difference, rtol=1e-4, atol=1e-8)


def gradients_follow_the_slope(scale: Scale) -> None:
    """ds/dr = s·d, and dKL/dr = (s² − 1)·d, also where formulas meet: at whole numbers."""
    joints = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    raw = np.concatenate([some_raws(scale), joints])
    sigma, slope = np.asarray(scale.sigma(raw)), np.asarray(scale.slope(raw))
    np.testing.assert_allclose(derivative(scale.sigma, raw), sigma * slope, rtol=1e-9)
    expected = (sigma**2 - 1) * slope
    np.testing.assert_allclose(derivative(scale.kl_excess, raw), expected, rtol=1e-7, atol=1e-12)


def fisher_information_is_twice_the_squared_slope(scale: Scale) -> None:
    """F(r) = E[(d log q/dr)²], by Gauss–Hermite quadrature of the density's own derivative."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    raw = some_raws(scale)[::4, None]
    z = np.asarray(scale.sigma(raw)) * nodes

    def log_prob(r, z):
        return logvar.Normal(0.0, r, scale).log_prob(z)

    scores = jax.jit(jnp.vectorize(jax.grad(log_prob)))(jnp.asarray(raw), jnp.asarray(z))
    expected = 2 * np.asarray(scale.slope(raw))[:, 0] ** 2
    got = np.sum(weights * np.asarray(scores) ** 2, axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-14)


def kl_equals_quadrature(scale: Scale) -> None:
    """KL(q ‖ p) = ∫ q·(log q − log p), by Gauss–Legendre quadrature over ±12 σ."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    raw = some_raws(scale)[8:16, None]
    q, p = logvar.Normal(0.3, raw, scale), logvar.Normal(0.0, 0.0, "log-std")
    z = 0.3 + 12 * np.asarray(q.sigma) * nodes
    log_q, log_p = np.asarray(q.log_prob(z)), np.asarray(p.log_prob(z))
    integral = np.sum(weights * np.exp(log_q) * (log_q - log_p), axis=1)
    got = np.asarray(q.kl())[:, 0]
    np.testing.assert_allclose(got, 12 * np.asarray(q.sigma)[:, 0] * integral, rtol=1e-8, atol=1e-9)


def sampler_density_and_kl_agree(scale: Scale) -> None:
    """Draws have the density's moments, and log q − log p averages to the KL."""
    raw = some_raws(scale)[11]
    q = logvar.Normal(jnp.full(20_000, 0.2), jnp.full(20_000, raw), scale)
    z = np.asarray(q.sample(jax.random.key(1)))
    standardized = (z - 0.2) / float(q.sigma[0])
    assert abs(standardized.mean()) < 5 / np.sqrt(20_000)
    assert abs(standardized.var() - 1) < 5 * np.sqrt(2 / 20_000)
    log_ratio = np.asarray(q.log_prob(z)) - np.asarray(
        logvar.Normal(0.0, 0.0, "log-std").log_prob(z)
    )
    error = log_ratio.std() / np.sqrt(20_000)
    assert abs(log_ratio.mean() - float(q.kl()[0])) < 5 * error + 1e-12


def finite_in_the_safe_range(scale: Scale) -> None:
    """At both ends and between them, every quantity and its gradient is finite in float32.

    (All but the gradient of σ²: 2σ²d overflows just before σ² itself does.)"""
    low, high = scale.safe_range(jnp.float32)
    ends = np.array([low, high], np.float32)
    inside = np.concatenate([ends, np.linspace(max(low, -200), min(high, 200), 401)])
    raw = jnp.asarray(np.clip(inside, low, high), jnp.float32)
    functions = quantities(scale)
    values = at_once(functions)(raw)
    gradients = at_once({n: jax.vmap(jax.grad(f)) for n, f in functions.items()})(raw)
    for name in functions:
        assert np.isfinite(values[name]).all(), name
        assert name == "variance" or np.isfinite(gradients[name]).all(), f"gradient of {name}"


def safe_range_is_where_the_variance_is_positive_and_finite(scale: Scale) -> None:
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        low, high = scale.safe_range(dtype)
        variance = jax.jit(scale.variance)
        for end, outwards in ((low, -1), (high, 1)):
            at = jnp.asarray(end, dtype)
            assert 0 < float(variance(at)) < np.inf, (dtype, end)
            beyond = jnp.nextafter(at, jnp.asarray(outwards * np.inf, dtype))
            if np.isfinite(float(beyond)):
                assert not 0 < float(variance(beyond)) < np.inf, (dtype, end)


def half_precision_is_rounded_once(scale: Scale) -> None:
    for dtype in (jnp.bfloat16, jnp.float16):
        low, high = scale.safe_range(dtype)
        raw = jnp.linspace(max(low, -6.0), min(high, 6.0), 41).astype(dtype)
        for name, function in quantities(scale).items():
            wide = function(raw.astype(jnp.float32)).astype(dtype)
            assert function(raw).dtype == dtype
            np.testing.assert_array_equal(function(raw), wide, err_msg=name)


def nothing_outside_the_safe_range_is_silently_wrong(scale: Scale) -> None:
    """NaN in gives NaN out; ±∞ gives the limit or NaN, never a finite number that is no limit."""
    low, high = scale.bounds
    of_nothing = at_once(quantities(scale))(jnp.float32(np.nan))
    for name in ("log_sigma", "sigma", "variance", "kl_excess"):
        assert np.isnan(of_nothing[name]).all(), name
    for infinity in (-np.inf, np.inf):
        sigma = np.asarray(scale.sigma(jnp.float32(infinity)), float)
        at_an_end = np.isclose(sigma, np.asarray(low), rtol=1e-5, atol=1e-30) | np.isclose(
            sigma, np.asarray(high), rtol=1e-5
        )
        assert (np.isnan(sigma) | at_an_end).all(), (infinity, sigma)


def convexity_flag_is_right(scale: Scale) -> None:
    """KL(r) is convex if and only if its derivative never falls, on a wide grid."""
    low, high = scale.safe_range(jnp.float32)
    raw = jnp.linspace(max(low, -45.0), min(high, 45.0), 9001)
    gradient = np.asarray(jax.jit(jax.vmap(jax.grad(scale.kl_excess)))(raw))
    rising = np.diff(gradient) > -1e-12 * np.maximum(1, np.abs(gradient[1:]))
    assert bool(rising.all()) == scale.is_convex


def stays_convex_for_random_targets(scale: Scale) -> None:
    """KL(N(μ, σ(r)²) ‖ N(m, t²)) is jointly convex in (μ, r) for any target if the flag is set.

    A function is convex if no chord's middle lies above the chord: random chords, short and long,
    of the formula itself. Where the flag is not set, some target must show it.
    """
    low, high = scale.safe_range(jnp.float32)
    rng = np.random.default_rng(0)
    n = 4000
    targets = np.exp(rng.uniform(-2, 2, n))
    centre = rng.uniform(max(low, -20.0), min(high, 20.0), n)
    mean, direction = rng.normal(size=n), rng.normal(size=(2, n))
    step = np.exp(rng.uniform(np.log(1e-2), np.log(4), n))

    def divergence(k: int) -> np.ndarray:
        raw = jnp.asarray(centre + k * step * direction[1])
        sigma, log_sigma = np.asarray(scale.sigma(raw)), np.asarray(scale.log_sigma(raw))
        square = sigma**2 + (mean + k * step * direction[0]) ** 2
        return square / (2 * targets**2) - log_sigma + np.log(targets) - 0.5

    below, at, above = (divergence(k) for k in (-1, 0, 1))
    rises = below - 2 * at + above > -1e-13 * (np.abs(at) + np.abs(below) + np.abs(above) + 40)
    assert bool(rises.all()) == scale.is_convex


def grows_or_falls_throughout(scale: Scale) -> None:
    """log σ is monotone over the safe range, in one direction, so that the inverse is one."""
    low, high = scale.safe_range(jnp.float32)
    raw = np.linspace(max(low, -60.0), min(high, 60.0), 4001)
    difference = np.diff(np.asarray(scale.log_sigma(raw)))
    assert (difference >= -1e-13).all() or (difference <= 1e-13).all()


def works_elementwise_under_jit_and_vmap(scale: Scale) -> None:
    raw = jnp.asarray(some_raws(scale)[:6].reshape(2, 3))
    functions = quantities(scale)
    found = at_once({name: jax.vmap(function) for name, function in functions.items()})(raw)
    for name, function in functions.items():
        one_by_one = [[float(function(value)) for value in row] for row in raw]
        np.testing.assert_allclose(found[name], one_by_one, rtol=1e-12)


def survives_being_written_down(scale: Scale) -> None:
    again = logvar.scales.get(logvar.scales.describe(scale))
    raw = some_raws(scale)
    np.testing.assert_array_equal(again.sigma(raw), scale.sigma(raw))


CHECKS = [
    inverse_round_trips,
    inverse_refuses_what_is_out_of_reach,
    all_forms_mean_one_sigma,
    slope_is_the_derivative,
    gradients_follow_the_slope,
    fisher_information_is_twice_the_squared_slope,
    kl_equals_quadrature,
    sampler_density_and_kl_agree,
    finite_in_the_safe_range,
    safe_range_is_where_the_variance_is_positive_and_finite,
    half_precision_is_rounded_once,
    nothing_outside_the_safe_range_is_silently_wrong,
    convexity_flag_is_right,
    stays_convex_for_random_targets,
    grows_or_falls_throughout,
    works_elementwise_under_jit_and_vmap,
    survives_being_written_down,
]
