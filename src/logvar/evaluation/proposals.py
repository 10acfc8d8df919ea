"""Mixtures of Student t fitted to weighted draws, to draw better ones: NumPy, on the host."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

DEGREES = 8.0
"""Degrees of freedom of each component. Its tails are heavier than those of any Normal, so that no
weight is huge where the fit is too narrow; with fewer, draws are lost where it is right."""

COMPONENTS = 8
_STEPS = 20
_CHANGE = 1e-3
"""The fit ends when a step gains fewer nats per draw."""
_LEAST_MASS = 1e-300
_HALVINGS = 50
_ROWS_AT_ONCE = 8192
_LEAST_SPREAD = 1e-6
"""The smallest spread of a latent that is fitted, relative to that of all draws."""

Draws = Float[np.ndarray, "draws latent"]
PerDraw = Float[np.ndarray, "draws"]


class Students(NamedTuple):
    """Σ π_k t(m_k, L_k·L_kᵀ), each with DEGREES degrees of freedom."""

    shares: Float[np.ndarray, "components"]
    means: Float[np.ndarray, "components latent"]
    factors: Float[np.ndarray, "components latent latent"]
    """L_k, lower triangular."""

    def draw(self, n: int, generator: np.random.Generator) -> Draws:
        """Draw n times."""
        which = generator.choice(len(self.shares), size=n, p=self.shares)
        noise = generator.standard_normal((n, self.means.shape[1]))
        noise /= np.sqrt(generator.chisquare(DEGREES, (n, 1)) / DEGREES)
        z = self.means[which]
        for k, factor in enumerate(self.factors):
            z[which == k] += noise[which == k] @ factor.T
        return z

    def log_probs(self, z: Draws) -> Float[np.ndarray, "draws components"]:
        """log π_k t(z; m_k, L_k·L_kᵀ) for each component."""
        return self.log_probs_at(self.distances(z))

    def log_probs_at(
        self, distances: Float[np.ndarray, "draws components"]
    ) -> Float[np.ndarray, "draws components"]:
        """The same from squared distances."""
        latent = self.means.shape[1]
        log_det = np.sum(np.log(np.diagonal(self.factors, axis1=1, axis2=2)), axis=1)
        half = 0.5 * (DEGREES + latent)
        constant = math.lgamma(half) - math.lgamma(0.5 * DEGREES)
        constant -= 0.5 * latent * math.log(DEGREES * math.pi)
        return np.log(self.shares) - log_det + constant - half * np.log1p(distances / DEGREES)

    def distances(self, z: Draws) -> Float[np.ndarray, "draws components"]:
        """Squared Mahalanobis distances of draws from each component."""
        latent = z.shape[1]
        inverse = np.linalg.inv(self.factors)
        at = np.einsum("kij,kj->ki", inverse, self.means)
        whitening = inverse.reshape(-1, latent).T  # one product for all components
        found = np.empty((len(z), len(self.shares)))
        for i in range(0, len(z), _ROWS_AT_ONCE):
            some = z[i : i + _ROWS_AT_ONCE]
            eps = (some @ whitening).reshape(len(some), *at.shape) - at
            found[i : i + _ROWS_AT_ONCE] = np.sum(np.square(eps), axis=2)
        return found

    def log_prob(self, z: Draws) -> PerDraw:
        """The log-density of each draw."""
        return logsumexp(self.log_probs(z), axis=1)


def fitted_students(z: Draws, weights: PerDraw, generator: np.random.Generator) -> Students:
    """Return the mixture that fits weighted draws, by expectation maximization.

    Each covariance is a posterior mode under an inverse Wishart prior around that of all draws,
    divided by K^(2/D) (Fraley & Raftery 2007, J. Classif. 24), so that few draws are enough.

    Args:
        z: draws.
        weights: how much each counts; their sum is 1.
        generator: chooses the first means among the draws.
    """
    latent = z.shape[1]
    size = 1 / np.sum(np.square(weights))
    mean = weights @ z
    centred = z - mean
    whole = (weights[:, None] * centred).T @ centred
    spread = np.maximum(np.diag(whole), 1e-12 * (weights @ np.square(z)).max() + 1e-30)
    # As many draws as there are latents do not determine a covariance; its diagonal they do.
    trust = size / (size + latent)
    whole = trust * whole + (1 - trust + _LEAST_SPREAD) * np.diag(spread)
    components = int(np.clip(size // (2 * latent), 1, COMPONENTS))
    prior = whole / components ** (2 / latent)
    strength = latent + 2.0
    factor = np.linalg.cholesky(whole)
    students = Students(
        np.full(components, 1 / components),
        centred[systematic(weights, components, generator)],
        np.repeat(factor[None], components, 0),
    )
    last = -np.inf
    for _ in range(_STEPS):
        distances = students.distances(centred)
        log_probs = students.log_probs_at(distances)
        log_prob = logsumexp(log_probs, axis=1, keepdims=True)
        now = float(weights @ log_prob[:, 0])
        if now < last + _CHANGE:
            break
        last = now
        responsible = weights[:, None] * np.exp(log_probs - log_prob)
        mass = responsible.sum(0)
        # A draw in the tail of a component tells less of its mean and spread.
        inner = responsible * (DEGREES + latent) / (DEGREES + distances)
        inner_mass = inner.sum(0)
        means = inner.T @ centred / np.maximum(inner_mass, _LEAST_MASS)[:, None]
        products = inner[:, :, None] * centred[:, None, :]
        second = (products.reshape(len(z), -1).T @ centred).reshape(components, latent, latent)
        scatter = second - inner_mass[:, None, None] * means[:, :, None] * means[:, None, :]
        counts = (size * mass)[:, None, None]
        factors = np.linalg.cholesky((size * scatter + strength * prior) / (counts + strength))
        # Half a draw more for each component, so that none dies of chance.
        shares = size * mass + 0.5
        students = Students(shares / shares.sum(), means, factors)
    return students._replace(means=students.means + mean)


def systematic(
    weights: PerDraw, n: int, generator: np.random.Generator
) -> Int[np.ndarray, "chosen"]:
    """Return n indices in random order, each as often as its weight says, rounded down or up."""
    points = (generator.random() + np.arange(n)) / n
    ends = np.cumsum(weights)
    chosen = np.searchsorted(ends / ends[-1], points, side="right")
    return generator.permutation(np.minimum(chosen, len(weights) - 1))


def effective_size(log_weights: PerDraw) -> float:
    """(Σ w)²/Σ w²: how many equally weighted draws the weighted ones are worth."""
    return float(np.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights)))


def normalized(log_weights: PerDraw) -> PerDraw:
    """Return weights whose sum is 1."""
    return np.exp(log_weights - logsumexp(log_weights))


def tempered(log_weights: PerDraw, at_least: float) -> PerDraw:
    """Return b·log w with the largest b ≤ 1 at which so many draws count effectively.

    The fit then steps towards the target; the final weights are never tempered.
    """
    if effective_size(log_weights) >= at_least:
        return log_weights
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = effective_size(middle * log_weights) >= at_least
        low, high = (middle, high) if enough else (low, middle)
    return np.where(np.isneginf(log_weights), -np.inf, low * log_weights)
