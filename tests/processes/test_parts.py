"""A batch in parts has the gradient of the whole batch; what cannot be divided is refused."""

import json
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly.decisions import Decisions
from logvar.assembly.dividing import placement_for, why_whole
from logvar.assembly.model import build_model
from logvar.data.preparation import Preparation
from logvar.errors import LogvarError
from logvar.models.batch import Batch
from logvar.objectives import OBJECTIVES
from logvar.objectives.base import Moment, with_inputs
from logvar.objectives.elbo import ELBO
from logvar.recipe import Recipe
from logvar.runs.resuming import facts_of, identity
from logvar.training.sharding import WHOLE, Drawing, Part, mean_over_parts
from logvar.training.state import partition
from logvar.training.step import Fixed
from tests.cases import some

MEANS = [name for name in OBJECTIVES.names() if OBJECTIVES.get(name).averages_rows]
NO_MEANS = ["beta-tc", "dip", "mmd", "factor", "trimmed", "elbo(free_bits=0.1)", "elbo(capacity=2)"]
SHARDS, BATCH = 4, 16


def small_model():
    recipe = Recipe().replace(latent_dim=2, network="mlp(hidden=[8])", likelihood="normal")
    return build_model(recipe, Decisions("normal", "mlp(hidden=[8])", 1.0, ()), (5,))


def in_parts(objective, batch, keys, shards, in_pairs):
    """Loss, terms and gradient of a batch, whole or in parts, with the noise of its parts."""
    params, static = partition(small_model())
    drawing = Drawing(Preparation(), static.noise_like(), objective.samples, SHARDS)
    moment = Moment(*map(jnp.asarray, (3, 0, 100, 7)), keys[1])

    def mean_of(rows, part):
        seen, eps = drawing.of(rows, keys[0], keys[1], part)

        def loss(params):
            return objective(eqx.combine(params, static), seen, eps, moment)

        return jax.value_and_grad(loss, has_aux=True)(params)

    @jax.jit
    def found(batch, zero):
        if in_pairs:
            return mean_over_parts(mean_of, batch, shards, 1, zero)[0]
        return mean_of(batch, WHOLE)

    return found(batch, jnp.asarray(0))


@pytest.mark.parametrize("name", some(MEANS, quick=("elbo", "ciwae")))
def test_shards_have_the_gradient_of_the_whole_batch(name):
    """The last shard is padding, and the rows weigh differently."""
    objective = with_inputs(OBJECTIVES.get(name))
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.random(BATCH) * (np.arange(BATCH) < 12), jnp.float32)
    batch = Batch(jnp.asarray(rng.normal(size=(BATCH, 5)), jnp.float32), weight=weight)
    keys = jax.random.split(jax.random.key(1))
    whole = in_parts(objective, batch, keys, SHARDS, in_pairs=False)
    parts = in_parts(objective, batch, keys, SHARDS, in_pairs=True)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NO_MEANS)
def test_what_sees_the_whole_batch_is_refused(name):
    objective, model = OBJECTIVES.get(name), small_model()
    fixed = Fixed(BATCH, Preparation(), shards=2)
    with pytest.raises(LogvarError, match=r"is no mean over the rows: use shards=1"):
        placement_for(name, objective, model, fixed, print)
    assert placement_for(name, objective, model, fixed._replace(shards=1), print) is None


def test_a_loss_that_replaces_another_is_no_mean_until_it_says_so():
    class Mine(ELBO):
        def __call__(self, model, batch, noise, moment):
            return super().__call__(model, batch, noise, moment)

    class MineThatSays(Mine):
        @property
        def averages_rows(self):
            return True

    assert why_whole("elbo", ELBO(), small_model()) is None
    assert "no mean" in why_whole("Mine", Mine(), small_model())
    assert why_whole("MineThatSays", MineThatSays(), small_model()) is None


def test_numbers_that_do_not_divide_are_refused():
    with pytest.raises(LogvarError, match="shards is 6: expected a power of two"):
        logvar.VAE(shards=6).fit(np.ones((4, 2)))
    with pytest.raises(LogvarError, match="does not divide into 8 shards: use a multiple of 8"):
        logvar.VAE(shards=8, batch_size=100).fit(np.ones((4, 2)))


def test_a_part_is_drawn_as_its_shard_of_the_whole():
    drawing = Drawing(Preparation(binarization="dynamic"), small_model().noise_like(), 1, SHARDS)
    rows = jnp.linspace(0, 1, BATCH * 3).reshape(BATCH, 3)
    keys = jax.random.split(jax.random.key(0))
    whole, eps = drawing.of(Batch(rows), *keys, WHOLE)
    third, third_eps = drawing.of(Batch(rows[8:12]), *keys, Part(2, SHARDS))
    assert jnp.array_equal(whole.x[8:12], third.x)
    assert jnp.array_equal(jax.tree.leaves(eps)[0][8:12], jax.tree.leaves(third_eps)[0])


@pytest.mark.slow
def test_devices_train_to_the_same_bytes_with_shards_and_nearly_without():
    """In one process with four CPU devices; tests/processes/test_processes.py has processes."""
    runs = "1,4,0", "2,4,0", "4,4,0", "1,1,0", "2,1,0", "4,4,32", "2,4,32"
    done = subprocess.run(
        [sys.executable, "-m", "tests.processes.trained", *runs],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {run[0]: run[1:] for run in map(json.loads, done.stdout.splitlines())}
    assert found["2,4,0"] == found["4,4,0"]
    assert found["2,4,32"] == found["4,4,32"] != found["4,4,0"]
    assert found["1,1,0"][0] != found["2,4,0"][0]
    np.testing.assert_allclose(found["1,4,0"][2], found["2,4,0"][2], atol=1e-4)
    np.testing.assert_allclose(found["1,1,0"][2], found["2,1,0"][2], atol=1e-4)


def test_processes_may_find_what_they_read_by_other_paths():
    facts = [
        facts_of(identity(Recipe().replace(data=place, from_run=place), {"from_sha256": "1"}))
        for place in ("/here", "/there")
    ]
    assert facts[0] == facts[1]
