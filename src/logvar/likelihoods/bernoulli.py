"""The Bernoulli likelihood: binary features, or intensities read as probabilities."""

from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.ops import bernoulli_log_prob
from logvar.errors import LogvarError
from logvar.likelihoods.base import Example, Likelihood, Observed, Outputs
from logvar.likelihoods.values import place
from logvar.scales.numerics import softplus


class Bernoulli(Likelihood):
    """Binary features, or intensities in [0, 1]; the outputs are logits.

    log p(x | l) = x·l − log(1 + e^l). For x strictly between 0 and 1 this is the cross-entropy
    commonly used as a loss, not a normalized density.
    """

    reads_intensities: ClassVar[bool] = True

    def check(self, rows: np.ndarray) -> None:
        check_unit_interval(rows, "bernoulli")

    def meaning(self, *, binarized: bool, dequantized: bool) -> str:
        return "probability of the binarized row" if binarized else "cross-entropy of intensities"

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        return x * outputs - softplus(outputs)

    def total(
        self, x: Example, outputs: Outputs, observed: Observed | None = None
    ) -> Float[Array, ""]:
        if observed is not None:
            return super().total(x, outputs, observed)
        return bernoulli_log_prob(x, outputs)

    def mean(self, outputs: Outputs) -> Example:
        return jax.nn.sigmoid(outputs)

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)


def check_unit_interval(rows: np.ndarray, name: str) -> None:
    """Check that rows are intensities in [0, 1], or pixels of uint8.

    Raises:
        LogvarError: one is not; the message names the first.
    """
    divisor = divisor_of(rows)
    # As the model reads them: in float32, where 1 + 1e-9 is 1.
    with np.errstate(over="ignore"):
        low, high = np.float32(np.nanmin(rows)), np.float32(float(np.nanmax(rows)) / divisor)
        if low >= 0 and high <= 1:
            return
        read = rows.astype(np.float32)
    at = np.argwhere((read < 0) | (read > divisor))[0]
    raise LogvarError(
        f"likelihood {name!r} got {rows[tuple(at)]:g} at {place(at)}: expected values in "
        "[0, 1]; rescale X, or use likelihood='normal'"
    )


def divisor_of(rows: np.ndarray) -> float:
    """Return 255 for uint8 pixels, which are read as intensities; otherwise 1."""
    return 255.0 if rows.dtype == np.uint8 and rows.max() > 1 else 1.0
