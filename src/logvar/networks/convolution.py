"""Two-dimensional convolution as matrix products, on one image of shape (height, width, channels).

On CPU, XLA differentiates `lax.conv*` inside a loop by an unoptimized scalar loop: a training
step of the tutorial's size takes 180 ms instead of 10. Here a convolution is `gather` (the
patch under each output pixel) times a matrix, and a transposed convolution is a matrix product
to all taps followed by `scatter` (each tap added where it belongs). Gather and scatter are each
other's transpose, and say so to automatic differentiation: left to itself, it turns the slices of
one into nine padded copies of the whole (58 ms instead of 2 for one layer, measured). So forward
and backward are slices, additions and one matrix product each, fast in a loop, and `vmap` over
images or models makes one larger or one batched product of them. The product of a kernel's gradient
gets its form in `products`. On GPU the same code runs.
Values and gradients are tested against `lax.conv_general_dilated` and `lax.conv_transpose`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Image = Float[Array, "height width channels"]
Patches = Float[Array, "rows columns taps_channels"]
Result = Float[Array, "new_height new_width new_channels"]
Kernel = Float[Array, "rows columns channels_a channels_b"]


class Window(NamedTuple):
    """Where a kernel lies on an image: pixel q + padding = stride·i + k for patch i, tap k."""

    image: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    """Zeros before the first row and column."""
    patches: tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gather(image: Image, window: Window) -> Patches:
    """The patch under each output pixel, taps in row-major order, channels last."""
    zero = jnp.zeros((), image.dtype)

    def tap(i: int, j: int) -> Patches:
        parts, margins = zip(*(_within(window, a, k) for a, k in enumerate((i, j))), strict=True)
        return lax.pad(image[parts], zero, (*margins, (0, 0, 0)))

    # Stacked in two steps XLA writes all taps in one pass; nine in a row it would copy twice.
    rows = [
        jnp.stack([tap(i, j) for j in range(window.kernel[1])], axis=2)
        for i in range(window.kernel[0])
    ]
    return jnp.stack(rows, axis=2).reshape(*window.patches, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scatter(patches: Patches, window: Window) -> Image:
    """Add every tap to the pixel it came from: the transpose of `gather`.

    Pixels are taken by their phase q mod stride. Tap k of patch i belongs to pixel
    q = stride·i + k − padding, so the phase of q is a sum of taps, each moved by a whole number of
    patches; what is moved off the image is cut, and no zero comes between two taps.
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

    rows = [
        jnp.stack([phase(r, c) for c in range(stride)], axis=2).reshape(sizes[0], -1, channels)
        for r in range(stride)
    ]
    image = jnp.stack(rows, axis=1).reshape(stride * sizes[0], stride * sizes[1], channels)
    return image[: window.image[0], : window.image[1]]


def _within(window: Window, axis: int, k: int) -> tuple[slice, tuple[int, int, int]]:
    """Where tap k lies inside the image, and how many patches before and after see it outside.

    A margin of zeros around the whole image would be one more copy of it.
    """
    stride, away = window.stride, k - window.padding[axis]
    first = max(-(away // stride), 0)
    last = min((window.image[axis] - 1 - away) // stride, window.patches[axis] - 1)
    if last < first:  # a kernel larger than the image has taps that never touch it
        return slice(0), (window.patches[axis], 0, 0)
    part = slice(stride * first + away, stride * last + away + 1, stride)
    return part, (first, window.patches[axis] - 1 - last, 0)


gather.defvjp(
    lambda image, window: (gather(image, window), None),
    lambda window, _, cotangent: (scatter(cotangent, window),),
)
scatter.defvjp(
    lambda patches, window: (scatter(patches, window), None),
    lambda window, _, cotangent: (gather(cotangent, window),),
)


def convolve(image: Image, kernel: Kernel, stride: int, padding: str) -> Result:
    """Convolution.

    Args:
        image: (height, width, in).
        kernel: (rows, columns, in, out).
        stride: the step in both directions.
        padding: "valid" (none) or "same" (output size ⌈size / stride⌉, as TensorFlow pads).
    """
    rows, columns, channels, features = kernel.shape
    window = _window(image.shape[:2], channels, (rows, columns), stride, padding)
    return gather(image, window) @ kernel.reshape(rows * columns * channels, features)


def convolve_transpose(image: Image, kernel: Kernel, stride: int) -> Result:
    """Transposed convolution with "same" padding: output size = stride × input size.

    Args:
        image: (height, width, in).
        kernel: (rows, columns, out, in), Keras' order.
        stride: the factor by which the image grows.
    """
    rows, columns, features, channels = kernel.shape
    size = (image.shape[0] * stride, image.shape[1] * stride)
    window = _window(size, features, (rows, columns), stride, "same")
    taps = image @ kernel.reshape(rows * columns * features, channels).T
    return scatter(taps, window)


def _window(
    size: tuple[int, ...], channels: int, kernel: tuple[int, int], stride: int, padding: str
) -> Window:
    if padding == "valid":
        patches = [(n - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
        before = [0, 0]
    else:
        patches = [-(-n // stride) for n in size]
        total = [
            max((p - 1) * stride + k - n, 0) for n, k, p in zip(size, kernel, patches, strict=True)
        ]
        before = [t // 2 for t in total]
    return Window(
        (size[0], size[1], channels),
        kernel,
        stride,
        (before[0], before[1]),
        (patches[0], patches[1]),
    )
