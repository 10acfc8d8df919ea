"""Arms: as is keeps raw outputs, matched keeps σ and the step in log σ."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar import assembly, scales
from logvar.data.sources import load
from logvar.models.batch import Batch
from logvar.recipe import Recipe
from logvar.study.arms import AS_IS, MATCHED, factor, slope_mismatch, start_arm
from logvar.training.loop import train
from logvar.training.state import partition
from tests.cases import some
from tests.training.test_fleet import Steps

ROWS = load("digits").train[:300]
REFERENCE = scales.get("log-variance")


def run(**settings):
    recipe = Recipe().replace(
        **(
            {"latent_dim": 3, "network": "mlp(hidden=[16])", "epochs": 2, "initial_sigma": "as-is"}
            | settings
        )
    )
    return assembly.build_run(recipe, assembly.TrainingData(ROWS[:250], ROWS[250:]))


@pytest.mark.parametrize("name", ["log-std", "softplus", "stdplus", "log-precision"])
def test_as_is_keeps_the_raw_outputs(name):
    model = run().model
    changed, coordinates = start_arm(model, scales.get(name), REFERENCE, AS_IS)
    np.testing.assert_array_equal(
        model.encode(Batch(jnp.asarray(ROWS[0])))["raw"],
        changed.encode(Batch(jnp.asarray(ROWS[0])))["raw"],
    )
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(coordinates))


@pytest.mark.parametrize(
    "name",
    some(
        ["log-std", "softplus", "stdplus", "log-precision", "exp-linear"],
        quick=["softplus", "log-precision"],
    ),
)
def test_matched_starts_at_the_same_sigma_and_moves_it_as_far(name):
    """One Adam step from the start moves log σ alike, to first order in the step."""
    built = run(learning_rate=1e-5)
    scale = scales.get(name)
    model, into = start_arm(built.model, scale, REFERENCE, MATCHED)

    def log_sigma(model):
        code = jax.vmap(model.encode)(Batch(jnp.asarray(ROWS[:20])))
        log_sigma = model.scale.log_sigma(code["raw"])
        return np.asarray(log_sigma, np.float64), np.asarray(code["mean"])

    # Small raw outputs, so that all is to first order around σ₀.
    def small(model, c):
        kernel = model.encoder.head.kernel.at[:, 3:].multiply(1e-3)
        return eqx.tree_at(lambda m: m.encoder.head.kernel, model, kernel)

    reference, matched = small(built.model, 1), small(model, factor(scale, REFERENCE))
    np.testing.assert_allclose(log_sigma(matched)[0], log_sigma(reference)[0], atol=2e-5)

    def after_one_step(model, coordinates):
        state = train(
            model, built.rows.values[:128], None, built.objective, built.plan, Steps(),
            coordinates=coordinates,
        ).state  # fmt: skip
        return eqx.combine(state.params, partition(model)[1])

    moved = log_sigma(after_one_step(matched, into))[0] - log_sigma(matched)[0]
    expected = log_sigma(after_one_step(reference, built.coordinates))[0] - log_sigma(reference)[0]
    assert np.abs(expected).max() > 1e-5
    np.testing.assert_allclose(moved, expected, rtol=0.02, atol=2e-7)


def test_the_slope_left_over_is_zero_in_the_log_family_and_what_it_is_elsewhere():
    raw = np.linspace(-3, 3, 7, dtype=np.float32)
    np.testing.assert_allclose(slope_mismatch(scales.get("log-std"), REFERENCE, raw), 0, atol=1e-6)
    softplus = scales.get("softplus")
    # softplus: d = sig(r)/softplus(r), against 1/2 for log-variance, scaled to agree at σ = 1.
    d = 1 / (1 + np.exp(-raw)) / np.log1p(np.exp(raw))
    expected = np.log(d * (0.5 / 0.632121)) - np.log(0.5)
    np.testing.assert_allclose(slope_mismatch(softplus, REFERENCE, raw), expected, atol=1e-5)


def test_a_scale_that_does_not_reach_the_start_is_refused_for_the_matched_arm():
    with pytest.raises(logvar.LogvarError, match=r"cannot start at σ = 1.*arms=\['as is'\]"):
        start_arm(run().model, scales.get("clamped(log-std, low=-5, high=-1)"), REFERENCE, MATCHED)
