"""Drawn images of one shape each, made from known factors: data for disentanglement.

`logvar fit shapes` uses them; `logvar.shapes` draws as many as wanted.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from logvar.errors import LogvarError
from logvar.randomness import Purpose, host_stream

SHAPES = ("triangle", "heart", "hook")
"""None of them looks the same when turned by less than a full turn."""
SIZES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ANGLES = 16
POSITIONS = 16
SMALLEST, LARGEST = 16, 64
_FINER = 4
"""Each pixel is the share of 4 × 4 points that lie inside: 17 levels of grey."""
_RADIUS = 0.28
"""Of a shape of size 1, as a share of the image."""
_AT_ONCE = 64
BUILT_IN_SIZE, BUILT_IN_ROWS, BUILT_IN_TEST = 32, 4000, 1000


class Shapes(NamedTuple):
    """Images and the factors they were drawn from."""

    images: Float[np.ndarray, "rows size size 1"]
    """float32 intensities from 0, black, to 1."""
    factors: dict[str, np.ndarray]
    """The columns of a table: shape (a name), size (a share of the largest), angle (degrees,
    against the clock), x (from the left) and y (from the top), shares of the range of centres."""


def shapes(n: int, *, size: int = 64, random_state: int = 0) -> Shapes:
    """Draw n images of a triangle, a heart or a hook, white on black, and return their factors.

    The factors are independent and uniform over their levels: 3 shapes, 6 sizes, 16 angles, and
    16 × 16 positions. Edges are smooth. Image i is a function of (random_state, n, i), and looks
    the same at any size.

    Args:
        n: how many.
        size: height and width in pixels, 16 to 64.
        random_state: the seed.

    Raises:
        LogvarError: n is not positive, or size is not from 16 to 64.

    Example:
        >>> import logvar
        >>> images, factors = logvar.shapes(100, size=32)
        >>> images.shape, sorted(factors)
        ((100, 32, 32, 1), ['angle', 'shape', 'size', 'x', 'y'])
    """
    if n < 1 or not SMALLEST <= size <= LARGEST:
        raise LogvarError(
            f"shapes got n {n} and size {size}: expected n of at least 1 and a size from "
            f"{SMALLEST} to {LARGEST} pixels"
        )
    rng = host_stream(random_state, Purpose.DRAWN)
    kind = rng.integers(len(SHAPES), size=n)
    factors = {
        "shape": np.array(SHAPES)[kind],
        "size": np.array(SIZES)[rng.integers(len(SIZES), size=n)],
        "angle": rng.integers(ANGLES, size=n) * (360.0 / ANGLES),
        "x": rng.integers(POSITIONS, size=n) / (POSITIONS - 1.0),
        "y": rng.integers(POSITIONS, size=n) / (POSITIONS - 1.0),
    }
    images = np.empty((n, size, size, 1), np.float32)
    for start in range(0, n, _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        images[span, ..., 0] = _drawn({name: f[span] for name, f in factors.items()}, size)
    return Shapes(images, factors)


def _drawn(factors: dict[str, np.ndarray], size: int) -> Float[np.ndarray, "rows size size"]:
    fine = ((np.arange(size * _FINER) + 0.5) / (size * _FINER)).astype(np.float32)
    margin = _RADIUS * 1.05

    def relative(name: str) -> Float[np.ndarray, "rows points"]:
        centre = margin + (1 - 2 * margin) * factors[name]
        return ((fine - centre[:, None]) / (_RADIUS * factors["size"])[:, None]).astype(np.float32)

    x, y = relative("x")[:, None, :], -relative("y")[:, :, None]  # upwards
    angle = np.deg2rad(factors["angle"]).astype(np.float32)[:, None, None]
    # Turned back, so that the shape itself stands upright.
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = np.zeros(u.shape, bool)
    for name, contains in _OUTLINES.items():
        chosen = factors["shape"] == name
        inside[chosen] = contains(u[chosen], v[chosen])
    points = inside.reshape(len(inside), size, _FINER, size, _FINER)
    return points.mean((2, 4), dtype=np.float32)


def _triangle(u: np.ndarray, v: np.ndarray) -> Bool[np.ndarray, "rows y x"]:
    """Isosceles, with its top on the unit circle and its base shorter than its height."""
    return (v > -0.75) & (np.abs(u) < (1.0 - v) * (0.6 / 1.75))


def _heart(u: np.ndarray, v: np.ndarray) -> Bool[np.ndarray, "rows y x"]:
    """Two circles, and a wedge whose sides touch them."""
    side = np.abs(u)
    circle = (side - 0.42) ** 2 + (v - 0.35) ** 2 < 0.48**2
    wedge = (v > -0.95) & (v < 0.05) & (side < 0.8 * (v + 0.95))
    return circle | wedge | ((side < 0.42) & (v >= 0.05) & (v < 0.35))


def _hook(u: np.ndarray, v: np.ndarray) -> Bool[np.ndarray, "rows y x"]:
    """An L: a long stroke upwards and a short one to the right."""
    stem = (np.abs(u + 0.3) < 0.2) & (np.abs(v) < 0.8)
    foot = (np.abs(v + 0.6) < 0.2) & (u > -0.5) & (u < 0.55)
    return stem | foot


_OUTLINES = {"triangle": _triangle, "heart": _heart, "hook": _hook}


def built_in() -> tuple[Shapes, Shapes]:
    """Return the training and the test set of the built-in data `shapes`: 32 × 32 pixels."""
    return (
        shapes(BUILT_IN_ROWS, size=BUILT_IN_SIZE, random_state=0),
        shapes(BUILT_IN_TEST, size=BUILT_IN_SIZE, random_state=1),
    )
