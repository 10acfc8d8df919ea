"""Possible meanings of a raw output: the registered scales, and mistakes seen in public code."""

import dataclasses

import jax
import numpy as np

from logvar import scales


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A possible meaning of the raw output, as log σ on the probe's grid."""

    name: str
    log_sigma: np.ndarray
    """NaN where σ does not exist."""
    fault: str = ""
    """The mistake, for meanings that are wrong even when used consistently."""


def candidates(raw: np.ndarray) -> list[Candidate]:
    """Return all candidates on these raw outputs; scales first, in the order of the registry."""
    found: list[Candidate] = []
    with jax.enable_x64(True):
        for name, entry in scales.REGISTRY.items():
            if not entry.wraps:
                log_sigma = np.asarray(scales.get(name).log_sigma(raw.astype(np.float64)))
                if not any(np.array_equal(log_sigma, other.log_sigma) for other in found):
                    found.append(Candidate(name, log_sigma))
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm = np.where(raw > 0, np.log(np.where(raw > 0, raw, 1.0)), np.nan)
    softplus = np.logaddexp(0.0, raw)
    return [
        *found,
        Candidate("log-std in base 2 (σ = 2^r)", raw * np.log(2.0)),
        Candidate(
            "softplus of a log-variance (σ = exp(softplus(r)/2))",
            0.5 * softplus,
            "σ cannot fall below 1, so no latent can carry information cheaply: softplus makes a "
            "log-variance nonnegative, but it is σ that must be positive, and exp sees to that",
        ),
        Candidate(
            "softplus of a log-std (σ = exp(softplus(r)))",
            softplus,
            "σ cannot fall below 1: softplus is applied to a logarithm",
        ),
        Candidate(
            "the standard deviation itself (σ = r)",
            logarithm,
            "σ is negative or zero where the raw output is, and nothing keeps it positive",
        ),
        Candidate(
            "the variance itself (σ² = r)",
            0.5 * logarithm,
            "σ² is negative or zero where the raw output is, and nothing keeps it positive",
        ),
    ]
