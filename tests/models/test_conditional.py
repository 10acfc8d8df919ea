"""Models that are told a condition of each example: in training, and in every evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar import assembly
from logvar.data.conditions import Conditions, Told
from logvar.evaluation.coding import decode, draw, encode
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.recipe import Recipe
from logvar.training.loop import train
from logvar.training.pace import Pace

RNG = np.random.default_rng(0)
LEVEL = RNG.integers(0, 2, 400)
CONDITION = np.eye(2, dtype=np.float32)[LEVEL]
FORM = Conditions.of(LEVEL)
X = (RNG.normal(size=(400, 3)) + 6.0 * LEVEL[:, None]).astype(np.float32)


def run(rows=X, condition=CONDITION, **settings):
    settings = {"latent_dim": 2, "epochs": 25, "batch_size": 40, "learning_rate": 0.01} | settings
    recipe = Recipe().replace(network="mlp(hidden=[16])", **settings)
    told = Told(FORM, condition[:360], condition[360:])
    return assembly.build_run(recipe, assembly.TrainingData(rows[:360], rows[360:], told=told))


def trained(run):
    return train(
        run.model, run.rows, run.validation, run.objective, run.plan, Pace(),
        coordinates=run.coordinates,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    made = run()
    return made, trained(made).model


def test_the_condition_carries_what_it_tells(fitted):
    """z need not tell the two levels apart, and draws of a level are like its rows."""
    made, model = fitted
    for level in (0, 1):
        told = np.repeat(np.eye(2, dtype=np.float32)[[level]], 2000, 0)
        drawn = made.units.to_user(draw(model, 2000, 0, mean=False, condition=told))
        rows = X[level == LEVEL]
        # A short training: a tenth of the distance between the levels.
        np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=0.6)
        np.testing.assert_allclose(drawn.std(0), rows.std(0), rtol=0.35)


def test_a_row_under_the_other_condition_is_less_likely(fitted):
    made, model = fitted
    wrong = dataclasses.replace(
        made.validation, condition=made.validation.condition[:, ::-1].copy()
    )
    for score in (
        lambda rows: elbo_terms(model, rows, made.prepared, 0).elbo,
        lambda rows: importance_log_likelihood(model, rows, made.prepared, 0, 50).log_likelihood,
    ):
        assert np.mean(score(made.validation) - score(wrong)) > 5


def test_a_row_scores_the_same_beside_any_other(fitted):
    made, model = fitted
    some = assembly.read(X[365:366], made.prepared, 0, made.units)
    some = dataclasses.replace(some, condition=CONDITION[365:366])
    whole = elbo_terms(model, made.validation, made.prepared, 0).elbo
    np.testing.assert_array_equal(elbo_terms(model, some, made.prepared, 0).elbo, whole[5:6])


def test_the_condition_keys_the_noise(fitted):
    made, _ = fitted
    other = dataclasses.replace(
        made.validation, condition=made.validation.condition[:, ::-1].copy()
    )
    assert (other.words != made.validation.words).any(axis=1).all()


def test_it_is_read_by_encoder_and_decoder(fitted):
    made, model = fitted
    other = dataclasses.replace(
        made.validation, condition=made.validation.condition[:, ::-1].copy()
    )
    codes = [encode(model, rows, made.prepared, 0)["mean"] for rows in (made.validation, other)]
    assert np.abs(codes[0] - codes[1]).max() > 1e-3
    z = np.zeros((2, 2), np.float32)
    decoded = decode(model, z, np.eye(2, dtype=np.float32))
    assert np.abs(decoded[0] - decoded[1]).min() > 0.5


def test_images_and_holes_have_it_beside_their_channels():
    images = np.random.default_rng(1).random((40, 8, 8)).astype(np.float32)
    images[images > 0.9] = np.nan
    recipe = Recipe().replace(latent_dim=2, network="conv")
    data = assembly.TrainingData(images, told=Told(FORM, CONDITION[:40]))
    model = assembly.build_run(recipe, data).model
    outputs = jax.eval_shape(model.decode, jnp.zeros(2), jnp.zeros(2))
    assert outputs.shape == (8, 8) and model.encoder.image == (8, 8, 4)


def test_a_model_without_its_condition_says_so(fitted):
    model = fitted[1]
    with pytest.raises(ValueError, match="needs a condition of 2 values: none"):
        model.decode(jnp.zeros(2))
