"""Forms that only a CPU needs are chosen on a CPU alone, and agree with those of other backends."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.backend import products
from logvar.backend.convolution import convolve, convolve_transpose
from logvar.backend.precision import BFLOAT16_PRODUCT, Precision, TrainingNetwork
from logvar.backend.products import training_products
from logvar.cores import cores
from logvar.networks.images import ImageDecoder
from logvar.training.fleet.members import _worth_a_turn
from logvar.training.step import run_chunk


@contextlib.contextmanager
def platform(name):
    """Trace as on another platform; what is traced still runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: name)
        yield


def traced(name, function, *arguments):
    """The program of a training step's layers, as text, for a platform."""
    with platform(name), training_products(rounded=False):
        return str(jax.make_jaxpr(lambda *a: function(*a))(*arguments))


IMAGE, KERNEL = jnp.ones((8, 6, 16)), jnp.ones((3, 3, 16, 16))
FORMS = {
    "conv": lambda image, kernel: convolve(image, kernel, 2, "same"),
    "conv valid": lambda image, kernel: convolve(image, kernel, 1, "valid"),
    "transposed": lambda image, kernel: convolve_transpose(image, kernel, 2),  # Winograd's
    "transposed, stride 1": lambda image, kernel: convolve_transpose(image, kernel, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_convolutions_are_products_on_a_cpu_alone(form):
    on_cpu, on_gpu = (traced(name, FORMS[form], IMAGE, KERNEL) for name in ("cpu", "gpu"))
    assert "conv_general_dilated" not in on_cpu and "dot_general" in on_cpu
    assert "conv_general_dilated" in on_gpu and "dot_general" not in on_gpu


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_agree(form):
    image, kernel = (jax.random.normal(jax.random.key(i), a.shape) for i, a in enumerate((IMAGE, KERNEL)))  # fmt: skip
    found = []
    for name in ("cpu", "gpu"):

        def value_and_gradients(image, kernel):
            gradients = jax.grad(lambda *a: jnp.sum(jnp.sin(FORMS[form](*a))), argnums=(0, 1))
            return FORMS[form](image, kernel), *gradients(image, kernel)

        with platform(name):
            found.append(value_and_gradients(image, kernel))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * float(jnp.abs(other).max()))


def test_the_narrow_factor_comes_first_on_a_cpu_alone():
    x, kernel = jnp.ones((5, 4, 3)), jnp.ones((3, 2))

    def gradient(x, kernel):
        def loss(kernel):
            return jnp.sum(jax.vmap(lambda one: products.product(one, kernel))(x))

        return jax.grad(loss)(kernel)

    assert "optimization_barrier" in traced("cpu", gradient, x, kernel)
    assert "optimization_barrier" not in traced("gpu", gradient, x, kernel)


def test_threads_and_turns_are_for_a_cpu_alone(monkeypatch):
    large = [jnp.ones((1024, 1024))]
    monkeypatch.setattr("logvar.cores.available_cores", lambda: 4)
    for name, threads in (("cpu", 4), ("gpu", 1)):
        with platform(name):
            assert cores() == threads and _worth_a_turn(large, 128) is (name == "cpu")


def test_bfloat16_keeps_the_products_that_can_be_asked_for():
    network = ImageDecoder((8, 8, 1), (8, 8, 1), 2, key=jax.random.key(0))
    with platform("gpu"):
        for precision, convolutions in ((Precision.FLOAT32, True), (Precision.BFLOAT16, False)):
            inside = TrainingNetwork(network, precision)
            program = str(jax.make_jaxpr(lambda z, inside=inside: inside(z))(jnp.ones(2)))
            assert ("conv_general_dilated" in program) is convolutions
            assert (BFLOAT16_PRODUCT.name in program) is not convolutions


def test_a_training_step_reuses_the_memory_of_its_state():
    assert run_chunk._donate == 2
