"""Convolution as matrix products equals lax.conv*, in values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from logvar.backend.convolution import convolve, convolve_transpose
from logvar.networks.images import ImageDecoder, ImageEncoder
from tests.cases import slow

LAYOUT = ("NHWC", "HWIO", "NHWC")


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(function, *arguments):
    gradients = jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), argnums=(0, 1))
    return function(*arguments), *gradients(*arguments)


def assert_same_values_and_gradients(ours, theirs, *shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    arguments = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    found = value_and_gradients(ours, *arguments), value_and_gradients(theirs, *arguments)
    for got, expected in zip(*found, strict=True):
        assert got.shape == expected.shape
        atol = 5e-6 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


# Every stride and padding in `make test`, with one of the sizes and kernels.
CONVOLUTIONS = [
    (padding, stride, size, kernel)
    if (i, j) == (stride % 2, p)
    else slow(padding, stride, size, kernel)
    for p, padding in enumerate(("valid", "same"))
    for stride in (1, 2, 3)
    for i, size in enumerate(((13, 13), (14, 9)))
    for j, kernel in enumerate(((3, 3), (2, 4)))
]


@pytest.mark.parametrize(("padding", "stride", "size", "kernel"), CONVOLUTIONS)
def test_convolution(padding, stride, size, kernel):
    def theirs(image, weights):
        return lax.conv_general_dilated(
            image[None], weights, (stride, stride), padding.upper(), dimension_numbers=LAYOUT
        )[0]

    def ours(image, weights):
        return convolve(image, weights, stride, padding)

    assert_same_values_and_gradients(ours, theirs, (*size, 3), (*kernel, 3, 4))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(2, 1), (1, 4)])
def test_convolution_with_a_kernel_larger_than_the_image(stride, size):
    def theirs(image, weights):
        return lax.conv_general_dilated(
            image[None], weights, (stride, stride), "SAME", dimension_numbers=LAYOUT
        )[0]

    def ours(image, weights):
        return convolve(image, weights, stride, "same")

    assert_same_values_and_gradients(ours, theirs, (*size, 3), (5, 7, 3, 4))


TRANSPOSED = [
    (stride, size, features) if i == j == stride % 2 else slow(stride, size, features)
    for stride in (1, 2, 3)
    for i, size in enumerate(((7, 7), (5, 9)))
    for j, features in enumerate((1, 4))
]


@pytest.mark.parametrize(("stride", "size", "features"), TRANSPOSED)
def test_transposed_convolution(stride, size, features):
    def theirs(image, weights):
        return lax.conv_transpose(
            image[None],
            weights,
            (stride, stride),
            "SAME",
            dimension_numbers=LAYOUT,
            transpose_kernel=True,
        )[0]

    def ours(image, weights):
        return convolve_transpose(image, weights, stride)

    assert_same_values_and_gradients(ours, theirs, (*size, 3), (3, 3, features, 3))


def test_no_convolution_is_left_to_differentiate_inside_the_training_loop():
    """On CPU its gradient would fall to a scalar loop (design: 180 ms a step instead of 10)."""
    image, kernel = jnp.zeros((8, 8, 2)), jnp.zeros((3, 3, 2, 4))

    def loss(kernel):
        return jnp.sum(convolve_transpose(convolve(image, kernel, 2, "same"), kernel, 2))

    assert "conv_general_dilated" not in str(jax.make_jaxpr(jax.grad(loss))(kernel))


def test_the_image_network_activates_its_layers_with_silu():
    """All but the last of each, also where a dense layer does so in one pass."""
    keys = jax.random.split(jax.random.key(0), 3)
    encoder = ImageEncoder((8, 8, 1), 6, key=keys[0])
    decoder = ImageDecoder((8, 8, 1), (8, 8, 1), 3, key=keys[1])
    x, silu = jax.random.normal(keys[2], (8, 8, 1)), jax.nn.silu
    seen = silu(encoder.second(silu(encoder.first(x)))).reshape(-1)
    expected = encoder.head(silu(encoder.dense(seen)))
    np.testing.assert_allclose(encoder(x), expected, rtol=1e-5, atol=1e-6)
    z = expected[:3]
    wide = silu(decoder.wide(silu(decoder.dense(z)))).reshape(2, 2, 64)
    outputs = decoder.head(silu(decoder.first(wide)))
    np.testing.assert_allclose(decoder(z), outputs, rtol=1e-5, atol=1e-6)
