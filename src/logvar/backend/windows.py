"""The position of a kernel on an image, array types of convolutions, and transposes."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

Image = Float[Array, "height width channels"]
Patches = Float[Array, "rows columns taps_channels"]
Result = Float[Array, "new_height new_width new_channels"]
Kernel = Float[Array, "rows columns channels_a channels_b"]


class Window(NamedTuple):
    """The position of a kernel on an image: pixel q + padding = stride·i + k for patch i, tap k."""

    image: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    """Zeros before the first row and before the first column."""
    patches: tuple[int, int]

    def within(self, axis: int, k: int) -> tuple[slice, tuple[int, int, int]]:
        """Return where tap k is inside the image, and for how many patches it is outside it.

        The patches are those before and after; a margin of zeros would copy the whole image.
        """
        stride, away = self.stride, k - self.padding[axis]
        first = max(-(away // stride), 0)
        last = min((self.image[axis] - 1 - away) // stride, self.patches[axis] - 1)
        if last < first:  # a kernel larger than the image has taps that never touch it
            return slice(0), (self.patches[axis], 0, 0)
        part = slice(stride * first + away, stride * last + away + 1, stride)
        return part, (first, self.patches[axis] - 1 - last, 0)


def window_of(
    size: tuple[int, ...], channels: int, kernel: tuple[int, int], stride: int, padding: str
) -> Window:
    """The window of a convolution with padding "valid" or "same" on an image of that size."""
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


def transposes(one: Any, other: Any) -> None:
    """Tell automatic differentiation that two linear functions are each other's transpose.

    Args:
        one: a `jax.custom_vjp` of (arrays, window), with the window not differentiated, or of
            (arrays,).
        other: the same.
    """
    for function, transpose in ((one, other), (other, one)):
        _define(function, transpose)


def _define(function: Any, transpose: Any) -> None:
    def forward(arrays: Any, *window: Window) -> tuple[Any, None]:
        return function(arrays, *window), None

    def backward(*given: Any) -> tuple[Any]:
        *window, _, cotangent = given
        return (transpose(cotangent, *window),)

    function.defvjp(forward, backward)
