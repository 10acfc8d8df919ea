"""Transposed convolution with a sixth of its products saved: the same result, for less."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.backend import winograd
from logvar.backend.convolution import convolve_transpose, scatter
from logvar.backend.windows import window_of
from tests.cases import every_value_once
from tests.traced import products

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the form for CPUs")


def window_for(image, kernel):
    (height, width, _), (rows, columns, features, _) = image.shape, kernel.shape
    return window_of((2 * height, 2 * width), features, (rows, columns), 2, "same")


def shared(image, kernel):
    return winograd.convolve_transpose(image, kernel, window_for(image, kernel))


def plain(image, kernel):
    return scatter(image @ kernel.reshape(-1, kernel.shape[3]).T, window_for(image, kernel))


def by_hand(image, kernel, given):
    """In float64, pixel by pixel: the result, and the gradients of its sum weighted by `given`."""
    image, kernel, given = (np.asarray(a, np.float64) for a in (image, kernel, given))
    height, width, _ = image.shape
    rows, columns, features, _ = kernel.shape
    before = [max(k - 2, 0) // 2 for k in (rows, columns)]
    result = np.zeros((2 * height, 2 * width, features))
    to_image, to_kernel = np.zeros_like(image), np.zeros_like(kernel)
    for i, j, k, m in np.ndindex(height, width, rows, columns):
        at = 2 * i + k - before[0], 2 * j + m - before[1]
        if all(0 <= q < n for q, n in zip(at, result.shape[:2], strict=True)):
            result[at] += kernel[k, m] @ image[i, j]
            to_image[i, j] += given[at] @ kernel[k, m]
            to_kernel[k, m] += np.outer(given[at], image[i, j])
    return result, to_image, to_kernel


def drawn(size, columns, features=16, channels=17):
    height, width = size
    keys = jax.random.split(jax.random.key(0), 3)
    return (
        jax.random.normal(keys[0], (height, width, channels)),
        jax.random.normal(keys[1], (3, columns, features, channels)),
        jax.random.normal(keys[2], (2 * height, 2 * width, features)),
    )


@jax.jit(static_argnums=0)
def value_and_gradients(function, image, kernel, given):
    value, transpose = jax.vjp(function, image, kernel)
    return value, *transpose(given)


def distances(function, arguments):
    """Root mean square distance of value and gradients to those by hand, over their size."""
    found, expected = value_and_gradients(function, *arguments), by_hand(*arguments)
    pairs = zip(found, expected, strict=True)
    assert all(f.shape == e.shape for f, e in zip(found, expected, strict=True))
    return [
        np.sqrt(np.mean((np.asarray(f, np.float64) - e) ** 2) / np.mean(e**2)) for f, e in pairs
    ]


@pytest.mark.parametrize(
    ("size", "columns"), every_value_once([(2, 1), (2, 4), (4, 3), (8, 7)], [2, 3, 4, 5])
)
def test_value_and_gradients_are_those_by_hand(size, columns):
    assert max(distances(shared, drawn(size, columns))) < 5e-7


def test_little_precision_is_lost():
    arguments = drawn((8, 8), 3, features=32, channels=64)
    for own, simple in zip(distances(shared, arguments), distances(plain, arguments), strict=True):
        assert own < 2.5 * simple


def test_gradients_of_its_gradients():
    image, kernel, given = drawn((4, 3), 3)

    def slope(function):
        def penalty(image, kernel):
            gradient = jax.grad(lambda i: jnp.sum(given * jnp.tanh(0.1 * function(i, kernel))))
            return jnp.sum(gradient(image) ** 2)

        return jax.grad(penalty, argnums=(0, 1))(image, kernel)

    for own, simple in zip(slope(shared), slope(plain), strict=True):
        np.testing.assert_allclose(own, simple, rtol=0, atol=2e-5 * float(jnp.abs(simple).max()))


def test_images_and_models_side_by_side_are_those_one_by_one():
    image, kernel, _ = drawn((4, 3), 3)
    images = jnp.stack([image, image[::-1], 2 * image])
    kernels = jnp.stack([kernel, -kernel[::-1]])
    together = jax.vmap(jax.vmap(shared, (0, None)), (None, 0))(images, kernels)
    one_by_one = jnp.stack([jnp.stack([plain(i, k) for i in images]) for k in kernels])
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-4)


def multiplications(function, *arguments):
    found = products(jax.make_jaxpr(function)(*arguments).jaxpr)
    return sum(_multiplications(product) for product in found)


def _multiplications(product):
    (contracted, _), _ = product.params["dimension_numbers"]
    terms = math.prod(product.invars[0].aval.shape[axis] for axis in contracted)
    return terms * math.prod(product.outvars[0].aval.shape)


@on_cpu
def test_a_transposed_convolution_does_a_sixth_less_forward_and_backward():
    arguments = drawn((4, 3), 3)

    def all_of(function):
        return lambda *given: value_and_gradients(function, *given)

    def used(image, kernel):
        return convolve_transpose(image, kernel, 2)

    usual, found = (multiplications(all_of(f), *arguments) for f in (plain, used))
    assert usual == 3 * 4 * 3 * 9 * 16 * 17
    assert found == usual * 5 // 6


@on_cpu
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [
        ((3, 4), (3, 3, 16, 16), 2),
        ((4, 4), (3, 3, 15, 16), 2),
        ((4, 4), (3, 3, 16, 15), 2),
        ((4, 4), (2, 3, 16, 16), 2),
        ((4, 4), (5, 3, 16, 16), 2),
        ((4, 4), (3, 3, 16, 16), 1),
        ((4, 4), (3, 3, 16, 16), 3),
    ],
    ids=[
        "odd rows",
        "few features",
        "few channels",
        "two rows",
        "five rows",
        "stride 1",
        "stride 3",
    ],
)
def test_the_plain_form_where_it_does_not_apply_or_pay(size, kernel, stride):
    image, weights = jnp.ones((*size, kernel[3])), jnp.ones(kernel)
    found = multiplications(lambda i, k: convolve_transpose(i, k, stride), image, weights)
    assert found == math.prod(size) * math.prod(kernel)


def test_the_plain_form_off_the_cpu(monkeypatch):
    image, kernel, _ = drawn((4, 4), 3)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.default_matmul_precision("bfloat16"):  # else the backend's own convolution
        found = multiplications(lambda i, k: convolve_transpose(i, k, 2), image, kernel)
    assert found == 16 * kernel.size
