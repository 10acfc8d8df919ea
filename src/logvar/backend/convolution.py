"""Two-dimensional convolution as matrix products, on one image of shape (height, width, channels).

On CPU, XLA differentiates `lax.conv*` inside a loop with an unoptimized scalar loop: a training
step of the tutorial's size takes 180 ms instead of 10. Here a convolution is `gather` (the
patch under each output pixel) times a matrix, and a transposed convolution is a matrix product
to all taps followed by `scatter` (each tap added where it belongs). Gather and scatter are declared
as each other's transpose. Without that, automatic differentiation turns the slices of one into nine
padded copies of the whole (58 ms instead of 2 for one layer, measured). So forward and backward are
slices, additions and one matrix product each, fast in a loop, and `vmap` over images or models
makes them one larger or one batched product. `products` has a fast form for the gradient of a
kernel, and `winograd` saves products of the larger transposed convolutions on a CPU.

Other backends have fast convolutions with fast gradients, so there `lax.conv*` is used, unless
training asks for bfloat16, which `lax` has for matrix products only (`precision`).
Values and gradients are tested against `lax.conv_general_dilated` and `lax.conv_transpose`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from logvar.backend import winograd
from logvar.backend.ops import computed_once
from logvar.backend.products import product
from logvar.backend.windows import (
    Image,
    Kernel,
    Patches,
    Result,
    Window,
    transposes,
    window_of,
)

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _lax_is_fast() -> bool:
    """Return whether the backend's own convolutions are used, for programs traced now."""
    asks: Any = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return jax.default_backend() != "cpu" and asks in (None, "default", "highest", "float32")


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gather(image: Image, window: Window) -> Patches:
    """Return the patch under each output pixel, taps in row-major order, channels last."""
    zero = jnp.zeros((), image.dtype)

    def tap(i: int, j: int) -> Patches:
        parts, margins = zip(*(window.within(a, k) for a, k in enumerate((i, j))), strict=True)
        return lax.pad(image[parts], zero, (*margins, (0, 0, 0)))

    # Stacked in two steps, XLA writes all taps in one pass; nine in a row it would copy twice.
    rows = [
        jnp.stack([tap(i, j) for j in range(window.kernel[1])], axis=2)
        for i in range(window.kernel[0])
    ]
    return jnp.stack(rows, axis=2).reshape(*window.patches, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scatter(patches: Patches, window: Window) -> Image:
    """Add every tap to the pixel it came from: the transpose of `gather`.

    The logits of a grey image are used three times in a training step: in log p(x), in its slope
    and in a sum of both. An image of three channels gains nothing from being computed only once.
    """
    if window.image[2] == 1:
        return computed_once(_sum_of_taps, patches, window)
    return _sum_of_taps(patches, window)


def _sum_of_taps(patches: Patches, window: Window) -> Image:
    """Compute the sum of `scatter`.

    Pixels are grouped by their phase q mod stride. Tap k of patch i belongs to pixel
    q = stride·i + k − padding, so the phase of q is a sum of taps, each shifted by a whole number
    of patches. Taps shifted off the image are cut, and no zeros are inserted between taps.
    """
    stride, channels = window.stride, window.image[2]
    sizes = [-(-n // stride) for n in window.image[:2]]

    def phase(row: int, column: int) -> Image:
        total = jnp.zeros((*sizes, channels), patches.dtype)
        for i in range(window.kernel[0]):
            for j in range(window.kernel[1]):
                away = (i - window.padding[0] - row, j - window.padding[1] - column)
                if away[0] % stride or away[1] % stride:
                    continue
                margins = [
                    (a // stride, n - p - a // stride, 0)
                    for a, n, p in zip(away, sizes, window.patches, strict=True)
                ]
                first = (i * window.kernel[1] + j) * channels
                tap = patches[:, :, first : first + channels]
                total += lax.pad(tap, jnp.zeros((), tap.dtype), (*margins, (0, 0, 0)))
        return total

    whole = all(n % stride == 0 for n in window.image[:2])
    rows = [
        _interleaved([phase(r, c) for c in range(stride)], 2, whole).reshape(sizes[0], -1, channels)
        for r in range(stride)
    ]
    image = _interleaved(rows, 1, whole).reshape(stride * sizes[0], stride * sizes[1], channels)
    return image[: window.image[0], : window.image[1]]


def _interleaved(parts: list[Image], axis: int, whole: bool) -> Array:
    """Interleave the parts along an axis: stack on a new axis, which is then merged into that one.

    If the image is cut afterwards, XLA fuses the cut with the stack into a loop with a branch per
    number: 150 µs for the 0.7 MB of the tutorial's first layer, against 95 µs with a `where`.
    """
    if whole or len(parts) != 2:
        return jnp.stack(parts, axis)
    even, odd = (jnp.expand_dims(part, axis) for part in parts)
    first = jnp.arange(2).reshape(2, *(1,) * (even.ndim - axis - 1)) == 0
    return jnp.where(first, even, odd)


transposes(gather, scatter)


def convolve(image: Image, kernel: Kernel, stride: int, padding: str) -> Result:
    """Convolution.

    Args:
        image: (height, width, in).
        kernel: (rows, columns, in, out).
        stride: the step in both directions.
        padding: "valid" (none) or "same" (output size ⌈size / stride⌉, as TensorFlow pads).
    """
    if _lax_is_fast():
        return lax.conv_general_dilated(
            image[None], kernel, (stride, stride), padding.upper(), dimension_numbers=_LAYOUT
        )[0]
    rows, columns, channels, features = kernel.shape
    window = window_of(image.shape[:2], channels, (rows, columns), stride, padding)
    return product(gather(image, window), kernel.reshape(rows * columns * channels, features))


def convolve_transpose(image: Image, kernel: Kernel, stride: int) -> Result:
    """Transposed convolution with "same" padding: output size = stride × input size.

    Args:
        image: (height, width, in).
        kernel: (rows, columns, out, in), Keras' order.
        stride: the factor by which the image grows.
    """
    if _lax_is_fast():
        return lax.conv_transpose(
            image[None], kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT,
            transpose_kernel=True,
        )[0]  # fmt: skip
    rows, columns, features, channels = kernel.shape
    size = (image.shape[0] * stride, image.shape[1] * stride)
    window = window_of(size, features, (rows, columns), stride, "same")
    if winograd.pays(window, channels):
        return winograd.convolve_transpose(image, kernel, window)
    taps = product(image, kernel.reshape(rows * columns * features, channels).T)
    return scatter(taps, window)
