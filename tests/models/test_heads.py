"""The decoder's head for a noise of each example: its raw outputs change, locations stay."""

import jax.numpy as jnp
import numpy as np
import pytest

from logvar import assembly
from logvar.models.heads import noise_head
from logvar.recipe import Recipe


def built(likelihood, network, shape):
    recipe = Recipe().replace(latent_dim=2, likelihood=likelihood, network=network)
    rows = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    return assembly.build_run(recipe, assembly.TrainingData(rows)).model


@pytest.mark.parametrize(("network", "shape"), [("mlp(hidden=[4])", (3,)), ("conv", (8, 8))])
def test_only_the_raw_scales_of_a_noise_of_each_example_change(network, shape):
    model = built("normal(noise=per-example)", network, shape)
    head, z = noise_head(model), jnp.asarray([0.3, -1.0])
    before, after = model.decode(z), head.changed(model, 2.0, 0.5).decode(z)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[1], 2 * before[1] + 0.5, rtol=1e-5, atol=1e-6)


def test_other_noise_has_no_such_head():
    assert noise_head(built("normal", "mlp(hidden=[4])", (3,))) is None
