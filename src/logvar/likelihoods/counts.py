"""Counts: Poisson, negative binomial and zero-inflated negative binomial.

The mean of a row's counts is m = library · softmax(outputs), with the row's own total as its
library size, or a learned one, as for cells in scvi-tools (Lopez et al. 2018, doi
10.1038/s41592-018-0229-2). Without a library, each feature has a mean of its own through a scale.
"""

import abc
import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from logvar import scales
from logvar.backend.sparse import InMemory
from logvar.distributions.counts import (
    Positive,
    negative_binomial_log_prob,
    negative_binomial_log_prob_zero,
    poisson_log_prob,
    sample_negative_binomial,
    sample_poisson,
    zero_inflated_log_prob,
)
from logvar.errors import LogvarError
from logvar.likelihoods.base import (
    Example,
    Likelihood,
    LikelihoodSpec,
    Observed,
    Outputs,
    Shape,
)
from logvar.likelihoods.rates import (
    DISPERSIONS,
    LEARNED,
    LIBRARIES,
    NONE,
    OBSERVED,
    InverseDispersion,
    Rates,
)
from logvar.likelihoods.values import check_counts, check_totals, totals
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES

LEAST_SPREAD = 0.01
"""Of a learned log library, where all training rows have about the same total."""


class OfCounts(LikelihoodSpec):
    """The settings of a likelihood of counts."""

    library: str = setting(
        OBSERVED, help="the size of a row: its total, a further latent, or none", choices=LIBRARIES
    )
    typical_library: float = setting(
        0.0,
        help="total where a row's own is not known; 0 takes the training rows' median, or the "
        "geometric mean if it is learned",
        at_least=0,
        below=math.inf,
    )
    library_spread: float = setting(
        0.0,
        help="standard deviation of a learned log library; 0 takes the training rows'",
        at_least=0,
        below=math.inf,
    )
    scale: Scale = setting(
        scales.get("log-std"), help="the scale of every positive quantity", part=SCALES
    )
    name: ClassVar[str]
    """The name in the registry."""
    reads_sparse: ClassVar[bool] = True

    def decided(self, *tables: InMemory) -> "OfCounts":
        for rows in tables:
            self.check(rows)
        learned = self.library == LEARNED
        if self.typical_library and (self.library_spread or not learned):
            return self
        of_rows = totals(tables[0], whole=learned)
        if not (of_rows > 0).any():
            raise LogvarError(
                f"likelihood {self.name!r} got {len(of_rows):,} training rows, all counts "
                "0: expected some above 0; check that X is the table of counts"
            )
        if not learned:
            return dataclasses.replace(self, typical_library=float(np.median(of_rows[of_rows > 0])))
        logs = np.log(of_rows[of_rows > 0])
        return dataclasses.replace(
            self,
            typical_library=self.typical_library or float(np.exp(logs.mean())),
            library_spread=self.library_spread or max(float(logs.std()), LEAST_SPREAD),
        )

    def check(self, rows: InMemory) -> None:
        check_counts(rows, self.name)
        if self.library == OBSERVED:
            check_totals(rows, self.name)

    def can_score(self, rows: InMemory) -> np.ndarray:
        return totals(rows) > 0 if self.library == OBSERVED else np.ones(len(rows), bool)

    def check_new(self, rows: InMemory) -> None:
        self.check(rows)

    def meaning(self, *, binarized: bool, dequantized: bool) -> str:
        if self.library == OBSERVED:
            return "probability of the counts, given the row's total as its library size"
        return "probability of the counts"

    def rates(self, shape: Shape) -> "Rates":
        """Return the means for examples of this shape.

        Raises:
            LogvarError: the typical library is still to be taken from rows.
        """
        if not self.typical_library or (self.library == LEARNED and not self.library_spread):
            raise LogvarError(
                f"likelihood {self.name!r} has no typical library yet: call decided(rows) before "
                "build, or set typical_library (and library_spread if it is learned)"
            )
        start = self.typical_library / max(1, math.prod(shape))
        offset = self.scale.raw(start) if self.library == NONE else 0.0
        spread = jnp.asarray(self.library_spread, jnp.float32) if self.library == LEARNED else None
        return Rates(
            self.scale,
            self.library,
            jnp.asarray(self.typical_library, jnp.float32),
            jnp.asarray(offset, jnp.float32),
            spread,
        )


class WithDispersion(OfCounts):
    """The settings of a negative binomial."""

    dispersion: str = setting(
        "per-feature", help="where the inverse dispersion θ comes from", choices=DISPERSIONS
    )
    inverse_dispersion: float = setting(
        10.0, help="its start; the variance is m + m²/θ", above=0, below=math.inf
    )
    # Rare features hardly move θ, so its start matters: benchmarks/counts has figures for 10 and 1.

    def thetas(self, shape: Shape) -> "InverseDispersion":
        """Return θ for examples of this shape.

        Raises:
            LogvarError: the scale cannot reach its start.
        """
        raw = jnp.asarray(self.scale.raw(self.inverse_dispersion), jnp.float32)
        raw = jnp.full(shape, raw) if self.dispersion == "per-feature" else raw
        return InverseDispersion(raw, self.scale, self.dispersion)


class Poisson(OfCounts):
    """Counts whose variance is their mean."""

    name: ClassVar[str] = "poisson"

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "PoissonCounts":
        return PoissonCounts(self.rates(shape))


class NegativeBinomial(WithDispersion):
    """Counts with mean m and variance m + m²/θ."""

    name: ClassVar[str] = "negative-binomial"

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "NegativeBinomialCounts":
        return NegativeBinomialCounts(self.rates(shape), self.thetas(shape))


class ZeroInflatedNegativeBinomial(WithDispersion):
    """Counts that are 0 with a probability of their own, and otherwise negative binomial."""

    name: ClassVar[str] = "zero-inflated-negative-binomial"

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "ZeroInflatedCounts":
        return ZeroInflatedCounts(self.rates(shape), self.thetas(shape))


class Counts(Likelihood):
    """Counts x = 0, 1, 2, … around a mean m; the encoder reads log(1 + x).

    With a library, the decoder outputs the logits of each feature's share of the row's total:
    m = library · softmax(outputs), and log p is that of the counts given the total. The total and
    the softmax are over the observed cells. `mean`, `expectation` and `sample` do not see x: they
    are those of a row of the typical library size, the median of the training rows. `given` a row,
    they are at that row's own library, and `with_library` gives them another one.

    A learned library is the last latent u of a row: log library = mean + spread · u, with the mean
    and standard deviation of the training rows' log totals, so that p(u) = N(0, 1) is a log-normal
    prior of the library (Lopez et al. 2018). Its KL is in the ELBO like any other latent's.
    """

    rates: Rates

    @property
    def latents(self) -> int:
        return 1 if self.rates.mode == LEARNED else 0

    def with_latents(self, outputs: Outputs, own: Float[Array, "own"]) -> Outputs:
        means = self.rates.in_rows_of(self.location(outputs), own[0])
        return means if self.heads == 1 else outputs.at[0].set(means)

    def given(self, x: Example, observed: Observed | None = None) -> "Counts":
        return dataclasses.replace(self, rates=self.rates.given(x, observed))

    def with_library(self, library: ArrayLike) -> "Counts":
        """Return this likelihood with means and draws for rows of this library size.

        Example:
            >>> import jax.numpy as jnp
            >>> import logvar
            >>> spec = logvar.likelihoods.get("poisson", typical_library=10.0)
            >>> poisson = spec.build((2,))
            >>> poisson.mean(jnp.zeros(2)).tolist()
            [5.0, 5.0]
            >>> poisson.with_library(300).mean(jnp.zeros(2)).tolist()
            [150.0, 150.0]
        """
        value = jnp.asarray(library, self.rates.library.dtype)
        return dataclasses.replace(
            self, rates=dataclasses.replace(self.rates, library=value, of_row=True)
        )

    def total(
        self, x: Example, outputs: Outputs, observed: Observed | None = None
    ) -> Float[Array, ""]:
        if observed is not None:
            x = jnp.where(observed, x, 0)  # whatever stands in missing cells
        return Likelihood.total(self.given(x, observed), x, outputs, observed)

    def encoder_input(self, x: Example, observed: Observed | None = None) -> Example:
        return super().encoder_input(jnp.log1p(x), observed)

    def location(self, outputs: Outputs) -> Outputs:
        """Return the decoder's outputs for the mean."""
        return outputs if self.heads == 1 else outputs[0]

    def mean(self, outputs: Outputs) -> Example:
        return self.rates(self.location(outputs)).value

    @abc.abstractmethod
    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        """log p(x | outputs) for each feature, at the library of `given` or else the total of x."""


class PoissonCounts(Counts):
    """log p(x) = x·log m − m − log x!."""

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        return poisson_log_prob(x, self.rates.given(x)(outputs))

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        return sample_poisson(key, self.mean(outputs))


class NegativeBinomialCounts(Counts):
    """log p(x) = log Γ(x+θ)/(Γ(θ)·x!) + θ·log(θ/(θ+m)) + x·log(m/(θ+m)); variance m + m²/θ."""

    dispersion: InverseDispersion

    @property
    def heads(self) -> int:
        return 1 + self.dispersion.heads

    def theta(self, outputs: Outputs) -> Positive:
        """Return the inverse dispersion θ."""
        return self.dispersion(outputs[1] if self.dispersion.heads else outputs)

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        mean = self.rates.given(x)(self.location(outputs))
        return negative_binomial_log_prob(x, mean, self.theta(outputs))

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        mean = self.rates(self.location(outputs))
        return sample_negative_binomial(key, mean, self.theta(outputs))


class ZeroInflatedCounts(NegativeBinomialCounts):
    """p(0) = π + (1 − π)·NB(0) and p(x) = (1 − π)·NB(x) otherwise; the mean is (1 − π)·m.

    The decoder's last output is the logit of π.
    """

    @property
    def heads(self) -> int:
        return 2 + self.dispersion.heads

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        mean, theta = self.rates.given(x)(self.location(outputs)), self.theta(outputs)
        log_p = negative_binomial_log_prob(x, mean, theta)
        at_zero = negative_binomial_log_prob_zero(mean, theta)
        return zero_inflated_log_prob(x, log_p, at_zero, outputs[-1])

    def mean(self, outputs: Outputs) -> Example:
        return jax.nn.sigmoid(-outputs[-1]) * super().mean(outputs)

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        of_count, of_zero = jax.random.split(key)
        counted = jax.random.bernoulli(of_zero, jax.nn.sigmoid(-outputs[-1]))
        return jnp.where(counted, super().sample(outputs, of_count), 0)
