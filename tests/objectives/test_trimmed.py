"""The trimmed ELBO: which rows are left out, from when on, and that they then teach nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.models.batch import Batch
from logvar.objectives import draws
from logvar.objectives.trimmed import lowest
from logvar.randomness import noise
from tests.objectives.tiny import FEATURES, linear_model, moment

ROWS = np.random.default_rng(1).normal(size=(10, FEATURES)).astype(np.float32)
ROWS[4] *= 40
MODEL = linear_model(2, likelihood="normal(noise=fixed, sigma=1)")
EPS = noise(MODEL.noise_like(), jax.random.key(0), (len(ROWS), 1))


def at_epoch(epoch):
    return moment(step=3)._replace(epoch=jnp.int32(epoch))


def loss(objective, rows=ROWS, weight=None, epoch=9):
    weight = jnp.ones(len(rows)) if weight is None else jnp.asarray(weight, jnp.float32)
    return float(objective(MODEL, Batch(jnp.asarray(rows), weight=weight), EPS, at_epoch(epoch))[0])


def bounds():
    each = draws(MODEL, Batch(jnp.asarray(ROWS)), EPS).terms(True)
    return np.asarray(each.elbo[:, 0], np.float64)


@pytest.mark.parametrize(
    ("fraction", "left_out"), [(0.1, 1), (0.3, 3), (0.39, 3), (0.05, 0), (0.0, 0)]
)
def test_the_loss_is_the_mean_of_the_best_bounds(fraction, left_out):
    objective = logvar.objectives.get("trimmed", fraction=fraction, after=0)
    expected = -np.sort(bounds())[left_out:].mean()
    assert loss(objective) == pytest.approx(expected, rel=1e-5)


def test_every_row_counts_at_first():
    objective = logvar.objectives.get("trimmed(fraction=0.1, after=5)")
    whole = loss(logvar.objectives.get("elbo"))
    assert loss(objective, epoch=4) == pytest.approx(whole, rel=1e-6)
    assert loss(objective, epoch=5) < 0.5 * whole
    assert objective.warmup == 5  # early stopping counts from there


def test_a_row_that_is_left_out_teaches_nothing():
    objective = logvar.objectives.get("trimmed(fraction=0.1, after=0)")
    slope = jax.jit(jax.grad(lambda x: objective(MODEL, Batch(x), EPS, at_epoch(9))[0]))(
        jnp.asarray(ROWS)
    )
    assert not np.any(slope[4]) and np.all(np.any(slope[np.arange(10) != 4], axis=1))


@pytest.mark.parametrize(
    ("weight", "fraction", "expected"),
    [
        ([1, 1, 1, 1, 1], 0.4, [1, 0, 1, 0, 0]),
        ([3, 1, 1, 1, 1], 0.4, [0, 0, 1, 0, 0]),  # row 0 does not fit any more
        ([1, 1, 0, 1, 1], 0.25, [1, 0, 0, 0, 0]),  # padding is never counted
        ([0.5, 1, 0.5, 1, 1], 0.25, [1, 0, 1, 0, 0]),
    ],
)
def test_weights(weight, fraction, expected):
    found = lowest(jnp.array([-5.0, 3, -9, 1, 2]), jnp.array(weight, jnp.float32), fraction)
    assert found.astype(int).tolist() == expected
