"""Products in bfloat16: rounded factors, float32 sums, and the same models in the end."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

import logvar
from logvar import assembly
from logvar.backend.precision import Precision, Rounding, as_asked, at_precision
from logvar.data.sources import load
from logvar.errors import LogvarError
from logvar.recipe import PRESETS, Recipe
from logvar.training.fleet import train_fleet
from logvar.training.loop import train
from logvar.training.members import Member
from logvar.training.pace import Pace

DIGITS = load("digits")
SMALL = {"latent_dim": 2, "hidden": (32,), "epochs": 2, "patience": 0}


def rounded(x):
    """Rounded to bfloat16 by another library, in float64."""
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def dimension_numbers():
    """Ways to multiply two arrays of three axes: which are summed, which are a batch."""
    for batch in (0, 1):
        for left, right in itertools.product(itertools.permutations(range(3)), repeat=2):
            # axes of the left factor: a batch (if any), one summed, the rest free
            left_batch, right_batch = left[:batch], right[:batch]
            left_sum, right_sum = left[batch : batch + 1], right[batch : batch + 1]
            yield (left_sum, right_sum), (left_batch, right_batch)
    yield ((0, 1), (0, 1)), ((), ())
    yield ((2, 0), (1, 2)), ((), ())
    yield ((0, 1, 2), (2, 1, 0)), ((), ())


@pytest.mark.parametrize(
    "sizes", [([3, 4, 5], [6, 7, 8]), ([17, 18, 16], [16, 19, 20])], ids=["small", "library"]
)
def test_products_are_of_rounded_factors_and_summed_in_float32(sizes):
    cases = []
    for count, dimensions in enumerate(dimension_numbers()):
        (left_sum, right_sum), (left_batch, right_batch) = dimensions
        left_shape, right_shape = sizes[0][:], sizes[1][:]
        for i, j in zip((*left_sum, *left_batch), (*right_sum, *right_batch), strict=True):
            right_shape[j] = left_shape[i]
        factors = normal(*left_shape, seed=count), normal(*right_shape, seed=count + 99)
        cases.append((dimensions, *factors))
    assert len(cases) == 75

    def products(factors):
        with jax.default_matmul_precision("BF16_BF16_F32"):
            return [lax.dot_general(*f, c[0]) for f, c in zip(factors, cases, strict=True)]

    # One program for all of them: each alone takes longer to compile than to check.
    given = [(jnp.asarray(left), jnp.asarray(right)) for _, left, right in cases]
    of_rounded = [tuple(jnp.asarray(rounded(x), jnp.float32) for x in pair) for pair in given]
    found = jax.jit(as_asked(products, Precision.BFLOAT16))(given)
    expected = jax.jit(lambda pairs: [lax.dot_general(*f, c[0]) for f, c in zip(pairs, cases, strict=True)])(of_rounded)  # fmt: skip
    for got, right in zip(found, expected, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "terms", "columns"), list(itertools.product((1, 16, 130), repeat=3))
)
def test_any_size_and_form_compiles(rows, terms, columns):
    """Forms that XLA's library leaves alone made XLA fail, or abort, before they were kept away."""
    left, right = jnp.asarray(normal(rows, terms)), jnp.asarray(normal(terms, columns, seed=1))

    def products(left, right):
        def product(a, b):
            with jax.default_matmul_precision("BF16_BF16_F32"):
                return a @ b

        plain = product(left, right)
        turned = product(right.T, left.T)
        of_left, of_right = jax.grad(lambda a, b: jnp.sum(product(a, b) ** 2) / 2, (0, 1))(
            left, right
        )
        return plain, turned.T, of_left, of_right

    plain, turned, of_left, of_right = jax.jit(as_asked(products, Precision.BFLOAT16))(left, right)
    expected = rounded(left) @ rounded(right)
    for got in (plain, turned):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_left, rounded(plain) @ rounded(right).T, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(of_right, rounded(left).T @ rounded(plain), rtol=1e-4, atol=2e-3)


class Linear(eqx.Module):
    kernel: jax.Array

    def __call__(self, x):
        return x @ self.kernel


def test_gradients_are_products_of_rounded_factors():
    kernel, x, towards = normal(7, 5), normal(6, 7, seed=1), normal(6, 5, seed=2)

    def loss(kernel, x):
        network = Rounding(Linear(kernel))
        return jnp.sum(jax.vmap(network)(x) * towards)

    asked = as_asked(jax.value_and_grad(loss, argnums=(0, 1)), Precision.BFLOAT16)
    value, (of_kernel, of_x) = jax.jit(asked)(kernel, x)
    outputs = rounded(x) @ rounded(kernel)
    np.testing.assert_allclose(value, np.sum(outputs * towards), rtol=1e-5)
    np.testing.assert_allclose(of_kernel, rounded(x).T @ rounded(towards), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_x, rounded(towards) @ rounded(kernel).T, rtol=1e-5, atol=1e-5)


def in_a_scan(x, kernel):
    return lax.scan(lambda carry, _: (carry @ kernel, None), x, None, length=1)[0]


def in_a_loop(x, kernel):
    return lax.fori_loop(0, 1, lambda _, carry: carry @ kernel, x)


def in_a_branch(x, kernel):
    return lax.cond(x[0, 0] > -1e9, lambda: x @ kernel, lambda: x)


def in_a_call(x, kernel):
    return jax.jit(lambda a: jax.checkpoint(jnp.matmul)(a, kernel))(x)


@pytest.mark.parametrize("network", [in_a_scan, in_a_loop, in_a_branch, in_a_call])
def test_products_inside_control_flow_are_rounded_too(network):
    x, kernel = normal(4, 4), normal(4, 4, seed=1)

    def function(x):
        with jax.default_matmul_precision("BF16_BF16_F32"):
            return network(x, kernel)

    got = jax.jit(as_asked(function, Precision.BFLOAT16))(x)
    np.testing.assert_allclose(got, rounded(x) @ rounded(kernel), rtol=1e-5, atol=1e-5)


def one_step(precision, **settings):
    recipe = Recipe().replace(**SMALL | settings, precision=precision)
    return assembly.build_run(recipe, DIGITS.train[:256], DIGITS.train[256:384])


def test_only_the_networks_are_rounded():
    run = one_step("bfloat16")
    model = at_precision(run.model, Precision.BFLOAT16)
    x, eps = jnp.asarray(normal(8, 64, seed=3)), jnp.asarray(normal(8, 1, 2, seed=4))

    def loss(model, x):
        return run.objective(model, x, eps, jnp.ones(8), jnp.asarray(0))[0]

    program = jax.make_jaxpr(lambda x: loss(model, x))(x.reshape(8, *run.rows.shape[1:]))
    found = [e.params["precision"] for e in program.eqns if e.primitive is lax.dot_general_p]
    networks = 2 + 2  # one hidden layer and a head, encoder and decoder
    assert sum(p == lax.DotAlgorithmPreset.BF16_BF16_F32 for p in found) == networks
    assert len(found) > networks  # the batch's averages, which stay float32


def test_float32_is_left_alone():
    model = one_step("float32").model
    assert at_precision(model, Precision.FLOAT32) is model
    assert as_asked(np.sum, Precision.FLOAT32) is np.sum


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": "softplus", "objective": "iwae", "n_samples": 3, "noise": "optimal"},
        {"network": "conv", "likelihood": "bernoulli"},
        PRESETS["tutorial"] | {"epochs": 1},
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
    raised = train_fleet(members, run.rows, run.validation, run.objective, run.plan, latent_dim=2)
    alone = train(run.model, run.rows, run.validation, run.objective, run.plan, Pace(), latent_dim=2, coordinates=run.coordinates)  # fmt: skip
    assert raised[0].best_elbo == pytest.approx(float(alone.state.best_elbo), rel=1e-4)


def test_the_final_elbo_agrees_within_the_noise_of_seeds():
    """Held-out ELBO, evaluated in float32, of eight seeds trained in each precision."""
    rows, held_out = DIGITS.train[:1000], DIGITS.train[1000:]
    settings = {"latent_dim": 16, "hidden": (64,), "epochs": 30, "patience": 0}
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
