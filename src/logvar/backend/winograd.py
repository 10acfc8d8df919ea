"""Transposed convolution of stride 2 with three kernel rows: five products instead of six.

Two neighbouring rows b, c of the image, and a, the row before b, make four rows of the result,

    e₀ = b·w₀ + a·w₂     o₀ = b·w₁     e₁ = c·w₀ + b·w₂     o₁ = c·w₁

where · is a row times a row of the kernel w₀, w₁, w₂. Five products do (F(2, 2) of Winograd 1980,
Arithmetic Complexity of Computations; for networks: Lavin & Gray 2016, arXiv 1509.09308):

    b·(w₀ + w₂)     b·w₁     (c − b)·w₀     (c − b)·w₁     (a − b)·w₂

since e₁ = b·(w₀ + w₂) + (c − b)·w₀, o₁ = b·w₁ + (c − b)·w₁ and so on. The gradients, which are
transposes of this, need five products, too. Only sums and differences of image, kernel and products
are taken: in float32 the result's error is 1.9 times that of the plain form, the gradients' 1.0
to 1.2 times (root mean squares, 32 and 64 channels).

On a CPU, where products dominate, the tutorial's step takes 0.93 of the time. Also saving a
product between two columns, 25 of 36, gains no more: there are more and smaller products. On GPU,
memory dominates, and the plain form is used.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from logvar.backend.products import product
from logvar.backend.windows import Image, Kernel, Result, Window, transposes

Rows = Float[Array, "pairs columns channels"]
Factors = tuple[
    Float[Array, "pairs columns of_two"],
    Float[Array, "pairs columns of_two"],
    Float[Array, "pairs columns of_one"],
]
"""The factors b, c − b and a − b of each pair of rows, or arrays that belong to them."""

_PRODUCTS = ((0, 1), (2, 3), (4,))
"""The products, in the order above, that each factor enters."""
_SUMS = ((0, 4), (1,), (0, 2), (1, 3))
"""The products whose sums are e₀, o₀, e₁ and o₁."""
_CHANNELS = 16
"""Measured with 32 and 64 channels; with few on either side, memory dominates on a CPU, too."""


def pays(window: Window, channels: int) -> bool:
    """Return whether a transposed convolution with this many channels is faster in this form."""
    return (
        jax.default_backend() == "cpu"
        and (window.stride, window.kernel[0], window.padding[0]) == (2, 3, 0)
        and window.patches[0] % 2 == 0
        and min(channels, window.image[2]) >= _CHANNELS
    )


def convolve_transpose(image: Image, kernel: Kernel, window: Window) -> Result:
    """Transposed convolution; kernel (3, columns, out, in)."""
    rows = (kernel[0] + kernel[2], kernel[1], kernel[0], kernel[1], kernel[2])
    kernels = (jnp.concatenate([rows[p] for p in own]) for own in _PRODUCTS)
    b, d, f = (
        product(factor, k.reshape(-1, kernel.shape[3]).T)
        for factor, k in zip(_factors(image), kernels, strict=True)
    )
    return _scatter((b, d, f), window)


@jax.custom_vjp
def _factors(image: Image) -> Factors:
    """Return b, c − b and a − b of each pair of rows."""
    b, c = image[0::2], image[1::2]
    return b, c - b, _moved(c, 1) - b


@jax.custom_vjp
def _rows(products: Factors) -> Image:
    """The transpose of `_factors`."""
    b, d, f = products
    first, second = (rows[:, None] for rows in (b - d - f, d + _moved(f, -1)))
    # A `where` instead of a stack, because XLA fuses it with the slope of the layer before; a stack
    # would add a branch per number: 280 µs instead of 110 for the tutorial's largest layer.
    pairs = jnp.where(jnp.arange(2).reshape(2, 1, 1) == 0, first, second)
    return pairs.reshape(-1, *b.shape[1:])


def _moved(rows: Rows, down: int) -> Rows:
    return lax.pad(rows, jnp.zeros((), rows.dtype), ((down, -down, 0), (0, 0, 0), (0, 0, 0)))


transposes(_factors, _rows)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _scatter(products: Factors, window: Window) -> Image:
    """Sum products to rows e₀, o₀, e₁, o₁ of each pair; columns as in `convolution.scatter`."""
    (pairs, patches, _), channels = products[0].shape, window.image[2]
    zero = jnp.zeros((), products[0].dtype)

    def tap(product: int, column: int) -> Rows:
        factor = next(i for i, own in enumerate(_PRODUCTS) if product in own)
        at = (_PRODUCTS[factor].index(product) * window.kernel[1] + column) * channels
        return products[factor][:, :, at : at + channels]

    def phase(row: int, column: int) -> Rows:
        total = jnp.zeros((pairs, patches, channels), zero.dtype)
        for j in range(window.kernel[1]):
            away = j - window.padding[1] - column
            if away % 2 == 0:
                one = functools.reduce(jnp.add, [tap(p, j) for p in _SUMS[row]])
                total += lax.pad(one, zero, ((0, 0, 0), (away // 2, -(away // 2), 0), (0, 0, 0)))
        return total

    rows = [
        jnp.stack([phase(r, c) for c in range(2)], axis=2).reshape(pairs, 2 * patches, channels)
        for r in range(4)
    ]
    return jnp.stack(rows, axis=1).reshape(4 * pairs, 2 * patches, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(image: Image, window: Window) -> Factors:
    """The transpose of `_scatter`."""
    zero = jnp.zeros((), image.dtype)

    def tap(product: int, column: int) -> Rows:
        rows = [image[r::4] for r, products in enumerate(_SUMS) if product in products]
        part, margin = window.within(1, column)
        return lax.pad(
            functools.reduce(jnp.add, rows)[:, part], zero, ((0, 0, 0), margin, (0, 0, 0))
        )

    def taps(own: tuple[int, ...]) -> Rows:
        # Stacked in two steps, XLA writes them in one pass, as in `convolution.gather`.
        stacked = [jnp.stack([tap(p, j) for j in range(window.kernel[1])], axis=2) for p in own]
        return jnp.stack(stacked, axis=2).reshape(len(image) // 4, window.patches[1], -1)

    b, d, f = (taps(own) for own in _PRODUCTS)
    return b, d, f


transposes(_scatter, _gather)
