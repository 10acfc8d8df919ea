"""Noise, SiLU and the Bernoulli likelihood in one pass each, against NumPy in float64."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logvar_kernels import bernoulli
from logvar_kernels import silu as silu_module
from logvar_kernels.silu import silu
from scipy import special
from sharing import kernels, normal, on_supported_jax, with_kernels

from logvar.backend.ops import standard_normal
from logvar.likelihoods.bernoulli import Bernoulli
from logvar.networks.layers import Dense

pytestmark = on_supported_jax

# Noise


@with_kernels
@pytest.mark.parametrize("count", [1, 15, 16, 17, 1023, 1024, 1025, 3000, 2**20])
def test_the_kernel_s_noise_is_that_of_its_bits(count):
    """√2·erf⁻¹(u) with u from the generator's bits, as jax.random.normal has it; erf⁻¹ by SciPy."""
    key = jax.random.key(count)
    got = standard_normal(key, (count,))
    uniform = jax.random.uniform(key, (count,), minval=np.nextafter(np.float32(-1), 0), maxval=1.0)
    expected = np.sqrt(2) * special.erfinv(np.asarray(uniform, np.float64))
    np.testing.assert_allclose(got, expected, rtol=5e-7)
    # JAX's own is less exact, and so further off than rounding.
    np.testing.assert_allclose(got, jax.random.normal(key, (count,)), rtol=2e-5)


@with_kernels
@pytest.mark.parametrize("count", [4, 100, 1500])
def test_noise_of_many_keys_at_once(count):
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(700))
    draw_one = jax.jit(lambda key: standard_normal(key, (count,)))
    got = jax.jit(jax.vmap(jax.vmap(draw_one)))(keys.reshape(70, 10))
    expected = np.stack([draw_one(key) for key in keys])
    np.testing.assert_array_equal(got, expected.reshape(70, 10, count))


# A layer's SiLU and the Bernoulli likelihood, each with its derivative


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


EXTREMES = np.array(
    [0, -0.0, 1e-30, -1e-30, 1e-6, 15, -15, 80, -80, 87, -87, 300, -300, 5e37], "f4"
)


@with_kernels
@pytest.mark.parametrize("width", [16, 17, 40, 784])
def test_silu_and_its_derivative_are_those_of_float64(width):
    x, bias = 5 * normal(3, 30, width), normal(3, width, seed=1)
    x[0, 0, : len(EXTREMES)], bias[0, : len(EXTREMES)] = EXTREMES, 0

    def each(x, bias):  # a fleet's layers: a bias for each member and not for each example
        return jax.vmap(jax.vmap(silu, in_axes=(0, None)))(x, bias)

    t = x.astype(np.float64) + bias[:, None].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = sigmoid(t) * (1 + t * sigmoid(-t))
        value = t * sigmoid(t)
    close = functools.partial(np.testing.assert_allclose, rtol=2e-6, atol=2e-6)
    close(each(x, bias), value)
    by_x, by_bias = jax.grad(lambda *a: jnp.sum(each(*a)), argnums=(0, 1))(x, bias)
    close(by_x, slope)
    np.testing.assert_allclose(by_bias, slope.sum(axis=1), rtol=1e-5, atol=1e-5)
    nan = x * np.nan
    assert np.isnan(each(nan, bias)).all()
    assert np.isnan(jax.grad(lambda x: jnp.sum(each(x, bias)))(nan)).all()


@with_kernels
@pytest.mark.parametrize("width", [16, 17, 128, 129, 784])
def test_bernoulli_totals_and_slopes_are_those_of_float64(width):
    x, logits = abs(normal(50, width)) % 1, 10 * normal(50, width, seed=1)
    logits[0, : len(EXTREMES)] = np.clip(EXTREMES, -1e5, 1e5)
    wide = logits.astype(np.float64)
    total = (x * wide - np.logaddexp(0, wide)).sum(axis=1)
    got = jax.vmap(bernoulli.total)(x, logits)
    np.testing.assert_allclose(got, total, rtol=3e-7)
    by_x, by_logits = jax.vmap(jax.grad(bernoulli.total, argnums=(0, 1)))(x, logits)
    np.testing.assert_array_equal(by_x, logits)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(by_logits, x - sigmoid(wide), rtol=0, atol=2e-7)
    nan = logits * np.nan
    assert np.isnan(jax.vmap(bernoulli.total)(x, nan)).all()
    assert np.isnan(jax.vmap(jax.grad(bernoulli.total, argnums=1))(x, nan)).all()


@with_kernels
def test_bernoulli_is_exact_where_the_probability_is_almost_one():
    """What is left of log 1 is 1e-30 of the rest and must not drown, nor vanish in 1 + e^l."""
    logits = np.repeat(-np.linspace(0, 80, 500, dtype=np.float32)[:, None], 16, axis=1)
    zero, exact = np.zeros_like(logits), np.log1p(np.exp(logits.astype(np.float64)))
    np.testing.assert_allclose(
        jax.vmap(bernoulli.total)(zero, logits), -exact.sum(axis=1), rtol=1e-6
    )
    slope = jax.vmap(jax.grad(bernoulli.total, argnums=1))(zero, logits)
    np.testing.assert_allclose(slope, -sigmoid(logits.astype(np.float64)), rtol=1e-6)


@with_kernels
def test_one_example_may_serve_many_samples():
    """Importance samples: an example of a row for all of the row's logits, and the other way."""
    x, logits = jnp.asarray(abs(normal(5, 20)) % 1), jnp.asarray(normal(5, 7, 20, seed=1))
    got = jax.vmap(jax.vmap(bernoulli.total, in_axes=(None, 0)))(x, logits)
    expected = [[bernoulli.total(x[i], logits[i, j]) for j in range(7)] for i in range(5)]
    np.testing.assert_array_equal(got, expected)
    # Over three axes, of which x lacks the middle one.
    several, each = normal(2, 3, 4, 20, seed=2), jax.vmap(bernoulli.total)
    got = jax.vmap(jax.vmap(each, in_axes=(None, 0)))(x[:4][None].repeat(2, 0), several)
    expected = [[each(x[:4], several[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_array_equal(got, expected)
    swapped = jax.vmap(jax.vmap(bernoulli.total, in_axes=(0, None)), in_axes=(None, 0))(x, x)
    expected = [[bernoulli.total(x[j], x[i]) for j in range(5)] for i in range(5)]
    np.testing.assert_array_equal(swapped, expected)


@with_kernels
@pytest.mark.parametrize("mode", ["jvp", "hessian", "both"])
def test_kernels_can_be_differentiated_forward_and_twice(mode):
    x, logits = jnp.asarray(abs(normal(20)) % 1), jnp.asarray(normal(20, seed=1))
    pairs = (
        (bernoulli.total, lambda x, l: jnp.sum(x * l - jax.nn.softplus(l))),
        (lambda *a: jnp.sum(silu(*a) ** 2), lambda x, b: jnp.sum(jax.nn.silu(x + b) ** 2)),
    )
    for ours, plain in pairs:
        if mode == "hessian":
            got, expected = (jax.hessian(f, argnums=(0, 1))(x, logits) for f in (ours, plain))
        else:
            tangents = jnp.asarray(normal(20, seed=2)), jnp.asarray(normal(20, seed=3))
            if mode == "both":
                ours, plain = (jax.value_and_grad(f, argnums=(0, 1)) for f in (ours, plain))
            got, expected = (jax.jvp(f, (x, logits), tangents) for f in (ours, plain))
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), got, expected)


def test_layers_and_likelihood_compute_with_the_kernels(traced):
    """Otherwise nothing above says anything about training."""

    def called(function, *arguments):
        return kernels(jax.make_jaxpr(function)(*arguments).jaxpr)

    layer = Dense(20, 30, key=jax.random.key(0))
    assert called(layer.activated, jnp.ones(20)) == ["logvar_silu"]
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), layer)
    assert called(narrow.activated, jnp.ones(20, jnp.bfloat16)) == []
    pixels = jnp.ones((4, 5))
    assert called(Bernoulli().total, pixels, pixels) == ["logvar_bernoulli"]
    narrow = pixels.astype(jnp.bfloat16)
    assert called(Bernoulli().total, narrow, narrow) == []
    assert called(lambda key: standard_normal(key, (5, 3)), jax.random.key(0)) == ["logvar_normal"]


@with_kernels
def test_layers_and_likelihood_say_the_same_without_the_kernels(monkeypatch):
    layer, x = Dense(20, 30, key=jax.random.key(0)), jnp.asarray(normal(20))
    layer = eqx.tree_at(lambda layer: layer.bias, layer, jnp.asarray(normal(30, seed=2)))
    pixels, logits = jnp.asarray(abs(normal(4, 5)) % 1), jnp.asarray(normal(4, 5, seed=1))
    got = layer.activated(x), Bernoulli().total(pixels, logits)
    for module in (silu_module, bernoulli):
        monkeypatch.setattr(module, "suits", lambda *_: False)
    for one, other in zip(
        got, (layer.activated(x), Bernoulli().total(pixels, logits)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)
