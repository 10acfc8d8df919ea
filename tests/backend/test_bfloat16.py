"""Products in bfloat16: rounded factors, float32 sums, and the same models in the end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

import logvar
from logvar import assembly
from logvar.backend.precision import Precision, in_training, products_round_on_request
from logvar.backend.products import product, training_products
from logvar.data.sources import load
from logvar.errors import LogvarError
from logvar.models.batch import Batch
from logvar.objectives import Moment
from logvar.recipe import PRESETS, Recipe
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import train_fleet
from logvar.training.loop import train
from logvar.training.pace import Pace
from tests.cases import slow
from tests.traced import products

DIGITS = load("digits")
SMALL = {"latent_dim": 2, "network": "mlp(hidden=[32])", "epochs": 2, "patience": 0}


def rounded(x):
    """Rounded to bfloat16 by another library, in float64."""
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("pixels", [(), (5,)])
def test_gradients_are_products_of_rounded_factors(pixels):
    """Forward and backward, for a dense layer and for a layer that is applied to each pixel."""
    kernel, x = jnp.asarray(normal(7, 3)), jnp.asarray(normal(6, *pixels, 7, seed=1))
    towards = jnp.asarray(normal(6, *pixels, 3, seed=2))

    def loss(kernel, x):
        with training_products(rounded=True):
            return jnp.sum(jax.vmap(lambda one: product(one, kernel))(x) * towards)

    value, (of_kernel, of_x) = jax.jit(jax.value_and_grad(loss, (0, 1)))(kernel, x)
    rows, given = (rounded(a).reshape(-1, a.shape[-1]) for a in (x, towards))
    outputs = rows @ rounded(kernel)
    exact = np.asarray(towards, np.float64).reshape(-1, 3)
    np.testing.assert_allclose(value, np.sum(outputs * exact), rtol=1e-5)
    np.testing.assert_allclose(of_kernel, rows.T @ given, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        of_x, (given @ rounded(kernel).T).reshape(x.shape), rtol=1e-5, atol=1e-5
    )


def one_step(precision, **settings):
    recipe = Recipe().replace(**SMALL | settings, precision=precision)
    return assembly.build_run(
        recipe, assembly.TrainingData(DIGITS.train[:256], DIGITS.train[256:384])
    )


def test_only_the_networks_are_rounded():
    """On a CPU by the layers, elsewhere because their products ask for it."""
    run = one_step("bfloat16")
    model = in_training(run.model, Precision.BFLOAT16)
    x, eps = jnp.asarray(normal(8, 64, seed=3)), jnp.asarray(normal(8, 1, 2, seed=4))

    def loss(model, x):
        zero = jnp.asarray(0)
        moment = Moment(zero, zero, jnp.asarray(8), jnp.asarray(1), jax.random.key(0))
        return run.objective(model, Batch(x), eps, moment)[0]

    program = jax.make_jaxpr(lambda x: loss(model, x))(x.reshape(8, *run.rows.shape[1:]))
    text, networks = str(program), 2 + 2  # one hidden layer and a head, encoder and decoder
    found = [e.params["precision"] for e in products(program.jaxpr)]
    assert len(found) > networks  # the batch's averages, which stay float32
    if products_round_on_request():
        assert sum(p == lax.DotAlgorithmPreset.BF16_BF16_F32 for p in found) == networks
    else:
        assert text.count("reduce_precision") == 2 * networks  # both factors of each
        assert all(p is None for p in found)


def test_nothing_is_rounded_in_float32():
    model = in_training(one_step("float32").model, Precision.FLOAT32)
    program = jax.make_jaxpr(jax.vmap(model.encoder))(jnp.ones((8, 64)))
    assert "reduce_precision" not in str(program)


class Linear(eqx.Module):
    kernel: jax.Array

    def __call__(self, x):
        return x.reshape(-1) @ self.kernel


@pytest.mark.skipif(products_round_on_request(), reason="here products round on request")
def test_networks_that_would_not_be_rounded_are_refused():
    vae = logvar.VAE(
        encoder=Linear(jnp.ones((4, 4))), decoder=Linear(jnp.ones((2, 4))), precision="bfloat16"
    )
    with pytest.raises(
        LogvarError, match="precision 'bfloat16'.*own networks.*precision='float32'"
    ):
        vae.fit(normal(16, 4))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        slow(
            {
                "scale": "softplus",
                "objective": "iwae(samples=3)",
                "likelihood": "auto(noise=optimal)",
            }
        ),
        slow({"network": "conv", "likelihood": "bernoulli"}),
        slow(PRESETS["tutorial"] | {"epochs": 1}),
    ],
    ids=["mlp", "iwae", "conv", "tutorial"],
)
def test_networks_train_and_differ_a_little(settings):
    rows = DIGITS.train[:256] / 16
    if settings.get("network") == "tutorial":
        rows = np.kron(rows.reshape(-1, 8, 8), np.ones((4, 4), np.float32))[:, 2:30, 2:30, None]
    scores = {}
    for precision in ("float32", "bfloat16"):
        vae = logvar.VAE(**(SMALL | {"validation_fraction": 0.0} | settings), precision=precision)
        scores[precision] = vae.fit(rows).history_[-1]["train"]["elbo"]
    assert np.isfinite(scores["bfloat16"])
    assert scores["bfloat16"] != scores["float32"]
    assert scores["bfloat16"] == pytest.approx(scores["float32"], rel=0.02)


def test_a_fleet_member_is_its_single_run_in_bfloat16_too():
    run = one_step("bfloat16")
    members = [Member(run.model, run.coordinates, 0, 1e-3), Member(run.model, run.coordinates, 1, 1e-3)]  # fmt: skip
    raised = train_fleet(members, run.rows, run.validation, run.objective, run.plan)
    alone = train(run.model, run.rows, run.validation, run.objective, run.plan, Pace(), coordinates=run.coordinates)  # fmt: skip
    assert raised[0].best_elbo == pytest.approx(float(alone.state.best_elbo), rel=1e-4)


@pytest.mark.slow
def test_the_final_elbo_agrees_within_the_noise_of_seeds():
    """Held-out ELBO, evaluated in float32, of eight seeds trained in each precision."""
    rows, held_out = DIGITS.train[:1000], DIGITS.train[1000:]
    settings = {"latent_dim": 16, "network": "mlp(hidden=[64])", "epochs": 30, "patience": 0}
    elbo = {
        precision: np.array([
            logvar.VAE(**settings, precision=precision, random_state=seed)
            .fit(rows, validation_data=held_out)
            .score(held_out)
            for seed in range(8)
        ])
        for precision in ("float32", "bfloat16")
    }  # fmt: skip
    differences = elbo["bfloat16"] - elbo["float32"]
    between_seeds = elbo["float32"].std(ddof=1)
    assert np.all(differences != 0)
    assert abs(differences.mean()) < between_seeds / np.sqrt(8)
    assert np.abs(differences).max() < 2 * between_seeds


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(LogvarError, match="bfloat16"):
        Recipe().replace(precision="bfloat").checked()
