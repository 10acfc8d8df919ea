"""Products that ask for bfloat16 get it: rounded factors, float32 sums. None of this needs AVX-512."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax
from logvar_kernels.bfloat16 import in_bfloat16
from logvar_kernels.programs import exchanged
from sharing import on_supported_jax, products

import logvar
from logvar import assembly
from logvar.backend.extension import Extension
from logvar.backend.precision import BFLOAT16_PRODUCT, Precision, TrainingNetwork, in_training
from logvar.data.sources import load
from logvar.models.batch import Batch
from logvar.objectives import Moment
from logvar.recipe import Recipe

pytestmark = on_supported_jax


def rounded(x):
    """Rounded to bfloat16 by another library, in float64."""
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def as_asked(function):
    """The function with the products that ask for it in bfloat16."""
    return exchanged(function, in_bfloat16)


class OnRequest(Extension):
    """No faster form but this one."""

    def optimized(self, function):
        return as_asked(function)

    def rounds_on_request(self):
        return True


@pytest.fixture
def on_request(in_logvar):
    in_logvar(OnRequest())


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

    def multiplied(factors):
        with jax.default_matmul_precision("BF16_BF16_F32"):
            return [lax.dot_general(*f, c[0]) for f, c in zip(factors, cases, strict=True)]

    # One program for all of them: each alone takes longer to compile than to check.
    given = [(jnp.asarray(left), jnp.asarray(right)) for _, left, right in cases]
    of_rounded = [tuple(jnp.asarray(rounded(x), jnp.float32) for x in pair) for pair in given]
    found = jax.jit(as_asked(multiplied))(given)
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

    def multiplied(left, right):
        def product(a, b):
            with jax.default_matmul_precision("BF16_BF16_F32"):
                return a @ b

        plain = product(left, right)
        turned = product(right.T, left.T)
        of_left, of_right = jax.grad(lambda a, b: jnp.sum(product(a, b) ** 2) / 2, (0, 1))(
            left, right
        )
        return plain, turned.T, of_left, of_right

    plain, turned, of_left, of_right = jax.jit(as_asked(multiplied))(left, right)
    expected = rounded(left) @ rounded(right)
    for got in (plain, turned):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_left, rounded(plain) @ rounded(right).T, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(of_right, rounded(left).T @ rounded(plain), rtol=1e-4, atol=2e-3)


class Linear(eqx.Module):
    kernel: jax.Array

    def __call__(self, x):
        return x @ self.kernel


def test_gradients_are_products_of_rounded_factors(on_request):
    kernel, x, towards = normal(7, 5), normal(6, 7, seed=1), normal(6, 5, seed=2)

    def loss(kernel, x):
        network = TrainingNetwork(Linear(kernel), Precision.BFLOAT16)
        return jnp.sum(jax.vmap(network)(x) * towards)

    asked = as_asked(jax.value_and_grad(loss, argnums=(0, 1)))
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

    got = jax.jit(as_asked(function))(x)
    np.testing.assert_allclose(got, rounded(x) @ rounded(kernel), rtol=1e-5, atol=1e-5)


def test_only_the_networks_ask_for_it(on_request):
    rows = load("digits").train[:64]
    recipe = Recipe().replace(latent_dim=2, network="mlp(hidden=[32])", precision="bfloat16")
    run = assembly.build_run(recipe, assembly.TrainingData(rows))
    model = in_training(run.model, Precision.BFLOAT16)
    x, eps = jnp.asarray(normal(8, 64, seed=3)), jnp.asarray(normal(8, 1, 2, seed=4))

    def loss(model, x):
        zero = jnp.asarray(0)
        moment = Moment(zero, zero, jnp.asarray(8), jnp.asarray(1), jax.random.key(0))
        return run.objective(model, Batch(x), eps, moment)[0]

    program = jax.make_jaxpr(lambda x: loss(model, x))(x.reshape(8, *run.rows.shape[1:]))
    found = [e.params["precision"] for e in products(program.jaxpr)]
    networks = 2 + 2  # one hidden layer and a head, encoder and decoder
    assert found.count(BFLOAT16_PRODUCT) == networks
    assert len(found) > networks  # the batch's averages, which stay float32
    assert "reduce_precision" not in str(program)  # the layers leave it to this package


class Flat(eqx.Module):
    """A network that knows nothing of logvar's layers."""

    kernel: jax.Array

    def __call__(self, x):
        return x.reshape(-1) @ self.kernel


def test_own_networks_train_in_bfloat16(on_request):
    """Without this package they are refused on a CPU."""
    rows, scores = normal(64, 4), {}
    for precision in ("float32", "bfloat16"):
        networks = Flat(jnp.asarray(normal(4, 4, seed=1))), Flat(jnp.asarray(normal(2, 4, seed=2)))
        vae = logvar.VAE(
            encoder=networks[0], decoder=networks[1], precision=precision, epochs=2, patience=0,
            validation_fraction=0.0, latent_dim=2, batch_size=32,
        )  # fmt: skip
        scores[precision] = vae.fit(rows).history_[-1]["train"]["elbo"]
    assert scores["bfloat16"] != scores["float32"]
    assert scores["bfloat16"] == pytest.approx(scores["float32"], rel=0.02)
