"""Every registered scale walks into this suite by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logvar
from logvar.scales import REGISTRY, LogFamily
from tests.contracts import scale_contract

# Wrappers need something to wrap; both forms of each are tested.
WRAPPED = [
    "clamped(log-variance, low=-4, high=3)",
    "clamped(softplus, low=-3, high=2, hard=True)",
    "floored(log-std, minimum=0.05)",
    "floored(stdplus, minimum=0.01, of='variance')",
]
NAMES = [name for name, entry in REGISTRY.items() if not entry.wraps] + WRAPPED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", scale_contract.CHECKS, ids=lambda check: check.__name__)
def test_scale_keeps_the_contract(name, check, float64):
    check(logvar.scales.get(name))


@functools.cache
def compiled(name):
    scale = logvar.scales.get(name)
    members = (scale.log_sigma, scale.sigma, scale.kl_excess, scale.slope)
    return scale.safe_range(jnp.float32), jax.jit(lambda raw: [m(raw) for m in members])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_any_float32_gives_a_sane_answer(name, raw):
    """σ and KL are never negative, and inside the safe range everything is finite."""
    (low, high), evaluate = compiled(name)
    _, sigma, kl, _ = values = [float(value) for value in evaluate(jnp.float32(raw))]
    assert not sigma < 0
    assert not kl < 0
    if low <= raw <= high:
        assert np.isfinite(values).all()


class Faulty(LogFamily):
    """log σ = ½r by name, but its variance forgets the square, as published code does."""

    def _variance(self, raw):
        return self._sigma(raw)


class WrongSlope(LogFamily):
    def _slope(self, raw):
        return jnp.full_like(raw, 1.0)


class WrongKL(LogFamily):
    """A closed form that drops a factor, so that the "KL" turns negative."""

    def _kl_excess(self, raw):
        return 0.5 * (self._variance(raw) - 1) - 2 * self._log_sigma(raw)


class WrongInverse(LogFamily):
    def _raw_of(self, sigma):
        return jnp.log(sigma)


@pytest.mark.parametrize(
    ("scale", "caught_by"),
    [
        (Faulty(0.5), "all_forms_mean_one_sigma"),
        (WrongSlope(0.5), "slope_is_the_derivative"),
        (WrongKL(0.5), "kl_equals_quadrature"),
        (WrongInverse(0.5), "inverse_round_trips"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_suite_catches_faulty_scales(scale, caught_by, float64):
    with pytest.raises(AssertionError):
        getattr(scale_contract, caught_by)(scale)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(logvar.LogvarError, match="did you mean 'log-std'"):
        logvar.scales.get("log-sd")


@pytest.mark.parametrize(
    "text", ["clamped(", "clamped()", "softplus(beta='x')", "a(b)", "softplus(__import__('os'))"]
)
def test_unreadable_descriptions_are_one_error(text):
    with pytest.raises(logvar.LogvarError):
        logvar.scales.get(text)


def test_bounds_may_differ_by_feature():
    scale = logvar.scales.get("clamped(log-std, low=[-1, -2], high=[1, 2])")
    sigma = scale.sigma(jnp.full((5, 2), 50.0))
    np.testing.assert_allclose(sigma, np.broadcast_to(np.exp([1.0, 2.0]), (5, 2)), rtol=1e-6)
    with pytest.raises(logvar.LogvarError, match="out of reach"):
        scale.raw(jnp.asarray([5.0, 5.0]))


def test_straight_through_passes_only_gradients_that_lead_inside():
    scale = logvar.scales.get("clamped(log-std, low=-1, high=1, straight_through=True)")
    gradient = jax.grad(lambda r, sign: sign * scale.log_sigma(r))
    assert gradient(5.0, 1.0) == 1 and gradient(5.0, -1.0) == 0
    assert gradient(-5.0, 1.0) == 0 and gradient(-5.0, -1.0) == -1
    assert gradient(0.5, 1.0) == 1 and gradient(0.5, -1.0) == -1
