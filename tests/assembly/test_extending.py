"""A new level of a condition: one more row in the first layers, and nothing else moves."""

import dataclasses

import jax
import numpy as np
import pytest

import logvar
from logvar import assembly
from logvar.assembly.extending import extended, only_new
from logvar.data.conditions import Conditions, Told
from logvar.evaluation.coding import decode, encode
from logvar.recipe import Recipe
from logvar.training.loop import train
from logvar.training.pace import Pace
from logvar.training.state import partition

RNG = np.random.default_rng(0)
LEVEL = np.repeat([0, 1, 2], 60)
TABLE = (RNG.normal(size=(180, 3)) + 4.0 * LEVEL[:, None]).astype(np.float32)
IMAGES = RNG.random((180, 8, 8)).astype(np.float32)
SOURCES = [(0,), (0, 1), (1,)]
"""The new level stands between the two old ones."""


def run(rows, levels, network, chosen=slice(None), **settings):
    recipe = Recipe().replace(latent_dim=2, network=network, **settings)
    form, condition = Conditions.of(np.arange(levels)), (LEVEL % levels)[chosen]
    told = Told(form, form.matrix(condition))
    return assembly.build_run(recipe, assembly.TrainingData(rows[chosen], told=told))


@pytest.mark.parametrize(
    ("rows", "network"), [(TABLE, "mlp(hidden=[6])"), (TABLE, "mlp(hidden=[])"), (IMAGES, "conv")]
)
def test_old_levels_are_read_as_before_and_the_new_one_is_between(rows, network):
    before, wide = run(rows, 2, network), run(rows, 3, network)
    model = extended(before.model, wide.model, SOURCES)
    z = RNG.normal(size=(40, 2)).astype(np.float32)
    for old, new in ((0, 0), (1, 2)):
        told = np.repeat(np.eye(2, dtype=np.float32)[[old]], 40, 0)
        wider = np.repeat(np.eye(3, dtype=np.float32)[[new]], 40, 0)
        np.testing.assert_allclose(
            decode(model, z, wider), decode(before.model, z, told), rtol=1e-5, atol=1e-6
        )
        examples = dataclasses.replace(before.rows, condition=np.repeat(told[:1], 180, 0))
        again = dataclasses.replace(wide.rows, condition=np.repeat(wider[:1], 180, 0))
        np.testing.assert_allclose(  # a wider sum may be added up in another order
            encode(model, again, before.prepared, 0)["mean"],
            encode(before.model, examples, before.prepared, 0)["mean"],
            atol=1e-6,
        )
    middle = decode(model, z, np.repeat(np.eye(3, dtype=np.float32)[[1]], 40, 0))
    half = np.full((40, 3), [0.5, 0, 0.5], np.float32)
    np.testing.assert_allclose(middle, decode(model, z, half), rtol=1e-4, atol=1e-5)


def test_only_the_new_level_trains():
    settings = {"epochs": 30, "learning_rate": 0.05, "batch_size": 30, "network": "mlp(hidden=[6])"}
    before, wide = run(TABLE, 2, chosen=slice(0, 120), **settings), run(TABLE, 3, **settings)
    model = extended(before.model, wide.model, [(0,), (1,), (0, 1)])
    new = run(TABLE, 3, chosen=slice(120, None), **settings)
    coordinates = only_new(before.model, wide.model, [(0,), (1,), (0, 1)])
    trained = train(
        model, new.rows, None, new.objective, new.plan, Pace(), coordinates=coordinates
    ).model
    moved = [
        np.asarray(a != b)
        for a, b in zip(*(jax.tree.leaves(partition(m)[0]) for m in (model, trained)), strict=True)
    ]
    places = {
        tuple(int(i) for i in np.argwhere(rows.any(1)).ravel()) for rows in moved if rows.any()
    }
    # The last input of the encoder's first layer (3 + 3 values) and of the decoder's (2 + 3).
    assert places == {(5,), (4,)}


def test_a_layer_that_reads_more_than_the_condition_alone_is_named():
    before, wide = (run(IMAGES, levels, "mlp(hidden=[6])") for levels in (2, 3))
    with pytest.raises(
        logvar.LogvarError, match=r"the weights encoder.hidden.0.kernel do not read"
    ):
        extended(before.model, wide.model, SOURCES)
