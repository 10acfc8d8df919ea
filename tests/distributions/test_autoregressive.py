"""Flows: inverse and log-determinant against automatic differentiation, and what a NaN does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.distributions.autoregressive import FlowDensity, FlowOfNormal, Layers

SCALE = logvar.scales.get("floored(softplus, minimum=0.01)")


def moved(latent_dim, context=0, layers=2, width=7, seed=0):
    """Layers far from the identity, in float64."""
    key = jax.random.key(seed)
    drawn = Layers.drawn(key, latent_dim, layers, width, SCALE, context)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(a, float) + 0.7 * rng.normal(size=a.shape), drawn)


@pytest.mark.parametrize(("latent_dim", "context"), [(1, 2), (3, 0), (4, 2)])
def test_inverse_and_determinant_are_those_of_automatic_differentiation(
    latent_dim, context, float64
):
    layers = moved(latent_dim, context)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=latent_dim))
    c = jnp.asarray(rng.normal(size=context)) if context else None

    @jax.jit
    def both(x):
        y, log_det = layers.transform(x, SCALE, c)
        back, log_det_back = layers.inverse(y, SCALE, c)
        return y, log_det, back, log_det_back

    y, log_det, back, log_det_back = both(x)
    jacobian = jax.jit(jax.jacfwd(lambda x: layers.transform(x, SCALE, c)[0]))(x)
    np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-10)
    _, expected = np.linalg.slogdet(jacobian)
    np.testing.assert_allclose(log_det, expected, rtol=1e-10)
    np.testing.assert_allclose(log_det_back, -expected, rtol=1e-8)
    of_inverse = jax.jit(jax.jacrev(lambda y: layers.inverse(y, SCALE, c)[0]))(y)
    np.testing.assert_allclose(of_inverse, np.linalg.inv(jacobian), rtol=1e-7, atol=1e-9)
    assert not np.allclose(y, x)


def test_each_output_of_a_layer_reads_the_latents_before_it_and_the_context(float64):
    layers = moved(4, 2, layers=1, width=12)
    x, c = jnp.ones(4), jnp.ones(2)
    by_x = np.asarray(jax.jit(jax.jacfwd(lambda x: layers.transform(x, SCALE, c)[0][::-1]))(x))
    assert np.all(np.triu(by_x, 1) == 0) and np.all(by_x[np.tril_indices(4)] != 0)
    assert np.all(
        np.asarray(jax.jit(jax.jacfwd(lambda c: layers.transform(x, SCALE, c)[0]))(c)) != 0
    )


def test_a_flow_starts_close_to_the_identity():
    layers = Layers.drawn(jax.random.key(0), 5, 4, 64, SCALE)
    x = jnp.asarray(np.random.default_rng(0).normal(size=5), jnp.float32)
    y, log_det = layers.transform(x, SCALE)
    np.testing.assert_allclose(y, x, atol=0.3)
    assert abs(float(log_det)) < 0.5


def test_a_value_that_is_not_finite_stays_one():
    """It must reach the diagnosis and never become log p = −∞."""
    layers = jax.tree.map(
        lambda a: a.astype(jnp.float32), Layers.drawn(jax.random.key(0), 3, 2, 8, SCALE, 2)
    )
    broken = eqx.tree_at(lambda l: l.shift, layers, layers.shift.at[0, 1, 0].set(jnp.nan))
    z = jnp.ones(3)
    assert np.isnan(FlowDensity(broken, SCALE, 3).log_prob(z))
    assert np.isnan(FlowDensity(layers, SCALE, 3).log_prob(z.at[1].set(jnp.nan)))
    q = FlowOfNormal(z, z, jnp.ones(2), broken, SCALE)
    assert np.isnan(q.draw(z)).any() and np.isnan(q.log_prob(z))
    nan_context = FlowOfNormal(z, z, jnp.full(2, jnp.nan), layers, SCALE)
    assert np.isnan(nan_context.log_prob_groups_of_noise(z)).all()
