"""Convert nats per example to bits per dimension, and between units of the data."""

import math

import numpy as np
from jax.typing import ArrayLike

from logvar.errors import LogvarError


def bits_per_dimension(
    log_prob: ArrayLike, dimensions: int, *, data_factor: float = 1.0
) -> np.ndarray:
    """Return −log p(x) / (D·log 2) for x in its own units: lower is better.

    A probability of discrete values needs nothing else. A density depends on the unit: if
    `log_prob` is the density of y = data_factor·x, that of x is log p(y) + D·log data_factor. For
    pixels divided by 255, pass data_factor=1/255. The density of pixels plus uniform noise of one
    level (`dequantize=True`) then bounds the bits needed for the pixels themselves.

    Args:
        log_prob: nats per example.
        dimensions: features per example, D.
        data_factor: the factor that the data were multiplied by before the density was taken.

    Raises:
        LogvarError: dimensions or data_factor is not positive.

    Reference:
        Theis, van den Oord & Bethge 2016, arXiv 1511.01844.

    Example:
        >>> from logvar.evaluation.units import bits_per_dimension
        >>> # Uniform over 256 levels; the density of x/256 is 1 everywhere.
        >>> round(float(bits_per_dimension(0.0, 784, data_factor=1 / 256)), 6)
        8.0
    """
    if dimensions < 1 or not data_factor > 0:
        raise LogvarError(
            f"bits_per_dimension got dimensions {dimensions} and data_factor {data_factor}: "
            "expected positive numbers"
        )
    nats = np.asarray(log_prob, np.float64) + dimensions * math.log(data_factor)
    return np.asarray(-nats / (dimensions * math.log(2)))
