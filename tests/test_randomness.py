"""Random numbers are functions of what they are for, and JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.backend import extension
from logvar.backend.ops import standard_normal
from logvar.randomness import Purpose, stream


@pytest.fixture
def plain(monkeypatch):
    """An installed extension may draw the same numbers with other last bits."""
    monkeypatch.setattr(extension, "in_use", extension.Extension)


def test_noise_is_jax_s_own_number_by_number(plain):
    for seed in range(20):
        key = stream(seed, Purpose.NOISE, 7 * seed)
        own = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 3), 7 * seed)
        np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(own))
        got = jax.jit(lambda key: standard_normal(key, (33, 2, 5)))(key)
        expected = jax.jit(jax.random.normal, static_argnums=1)(own, (33, 2, 5))
        np.testing.assert_array_equal(got, expected)


def test_noise_does_not_depend_on_the_generator_that_jax_is_set_to():
    def drawn():
        return standard_normal(stream(3, Purpose.NOISE, 1, jnp.asarray(2)), (5,))

    before = np.asarray(drawn())
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(drawn(), before)


def test_purposes_and_positions_have_streams_of_their_own():
    keys = [stream(0, purpose, *at) for purpose in Purpose for at in ((), (0,), (0, 0), (1,))]
    words = {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}
    assert len(words) == len(keys)
