"""Probabilities of intervals against mpmath, far out and for narrow, wide and open intervals."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from scipy import stats

from logvar.distributions.interval import log_normal_interval


def exact(end, width):
    """(log P, d/d end, d/d width) in 60 digits."""
    with mpmath.workdps(60):
        end, width = mpmath.mpf(float(end)), mpmath.mpf(float(width))
        low, high = sorted((end, end + width))
        if low + high < 0:
            low, high = -high, -low
        p = (mpmath.erfc(low / mpmath.sqrt(2)) - mpmath.erfc(high / mpmath.sqrt(2))) / 2
        sign = 1 if width > 0 else -1
        slopes = mpmath.npdf(end + width) - mpmath.npdf(end), mpmath.npdf(end + width)
        return float(mpmath.log(p)), *(float(sign * slope / p) for slope in slopes)


def cases():
    rng = np.random.default_rng(0)
    end = np.concatenate([rng.uniform(-37, 37, 200), rng.normal(size=100)])
    width = 10 ** np.concatenate([rng.uniform(-3, 1.5, 200), rng.uniform(-30, 2, 100)])
    return np.float32(end), np.float32(width * rng.choice([-1, 1], 300))


def test_the_logarithm_and_its_slopes_are_mpmaths():
    end, width = cases()
    got = jax.jit(jax.vmap(jax.value_and_grad(log_normal_interval, argnums=(0, 1))))(end, width)
    value, slopes = np.asarray(got[0]), np.asarray(got[1])
    expected = np.array([exact(*pair) for pair in zip(end, width, strict=True)])
    np.testing.assert_allclose(value, expected[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes[0], expected[:, 1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slopes[1], expected[:, 2], rtol=1e-5, atol=1e-5)


def test_open_and_distant_intervals_are_finite():
    end = jnp.asarray([0.0, 1.0, -3.0, 1e4, -1e6, 1e9, -1e11], jnp.float32)
    width = jnp.asarray([1e9, -1e9, 1e-30, 1e-3, 1.0], jnp.float32)
    of = jax.vmap(jax.vmap(jax.value_and_grad(log_normal_interval), (0, None)), (None, 0))
    value, slope = jax.jit(of)(end, width)
    assert np.isfinite(value).all() and np.isfinite(slope).all()
    one = jax.jit(jax.grad(log_normal_interval, argnums=1))(jnp.float32(0.3), jnp.float32(1e-30))
    assert np.isfinite(one)  # the branch that is not taken would be log 0
    expected = stats.norm.logsf(np.asarray(end[:4], float))
    np.testing.assert_allclose(value[0, :4], expected, rtol=1e-6)


def test_neighbours_add_up():
    edges = np.linspace(-9, 9, 300)
    end = np.concatenate([edges[:-1], [-9.0, 9.0]])
    width = np.concatenate([np.diff(edges), [-1e9, 1e9]])
    log_p = jax.jit(log_normal_interval)(np.float32(end), np.float32(width))
    np.testing.assert_allclose(np.exp(np.asarray(log_p, float)).sum(), 1, rtol=1e-5)
