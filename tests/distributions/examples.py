"""An example of each joint density, with its reference in SciPy."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

import logvar
from logvar.distributions.mixture import NormalMixture
from logvar.distributions.multivariate import DiagonalNormal, FullNormal, StandardNormal

LOG_STD = logvar.scales.get("log-std")
MEAN = np.array([0.4, -1.2, 0.7])
RAW = np.array([-0.5, 0.3, -1.1])
LOWER = np.array([0.6, -0.9, 0.35])  # L₁₀, L₂₀, L₂₁
LOGITS = np.array([0.2, -1.0, 0.5])
MEANS = np.array([[1.5, 0.0, -0.5], [-1.0, 0.8, 0.2], [0.1, -2.0, 1.0]])
RAWS = np.array([[-0.6, 0.2, -0.3], [0.1, -0.4, 0.3], [-1.0, 0.0, -0.8]])


@contextlib.contextmanager
def computing_in(dtype):
    """float64 is a mode of JAX."""
    with jax.enable_x64(dtype == "float64"):
        yield jnp.dtype(dtype)


def cholesky(raw=RAW, lower=LOWER):
    """L by hand, row by row."""
    return np.array(
        [
            [np.exp(raw[0]), 0, 0],
            [lower[0], np.exp(raw[1]), 0],
            [lower[1], lower[2], np.exp(raw[2])],
        ]
    )


def full(dtype="float64", mean=MEAN, raw=RAW, lower=LOWER):
    return FullNormal(*(jnp.asarray(a, dtype) for a in (mean, raw, lower)), LOG_STD)


def full_of_two(dtype="float64"):
    return FullNormal(*(jnp.asarray(a, dtype) for a in (MEAN[:2], RAW[:2], LOWER[:1])), LOG_STD)


def diagonal(dtype="float64", size=3):
    return DiagonalNormal(jnp.asarray(MEAN[:size], dtype), jnp.asarray(RAW[:size], dtype), LOG_STD)


def mixture(dtype="float64", size=3):
    arrays = LOGITS, MEANS[:, :size], RAWS[:, :size]
    return NormalMixture(*(jnp.asarray(a, dtype) for a in arrays), LOG_STD)


def standard(dtype="float64", size=3):
    return StandardNormal(size)


def mixture_log_prob(z, size=3):
    """log Σ π_k N(z; m_k, diag σ_k²) by SciPy."""
    log_pi = LOGITS - special.logsumexp(LOGITS)
    each = [
        log_pi[k] + stats.norm(MEANS[k, :size], np.exp(RAWS[k, :size])).logpdf(z).sum(-1)
        for k in range(3)
    ]
    return special.logsumexp(each, axis=0)


REFERENCES = {
    "standard": (standard, stats.multivariate_normal(np.zeros(3)).logpdf),
    "diagonal": (
        diagonal,
        stats.multivariate_normal(MEAN, np.diag(np.exp(2 * RAW))).logpdf,
    ),
    "full": (full, stats.multivariate_normal(MEAN, cholesky() @ cholesky().T).logpdf),
    "mixture": (mixture, mixture_log_prob),
}
"""(density of a dtype, log-density of rows by SciPy)."""
