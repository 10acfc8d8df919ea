"""Means and dispersions of counts, from a decoder's outputs."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logvar.distributions.counts import Positive
from logvar.likelihoods.base import Example, Observed, Outputs
from logvar.scales import Scale
from logvar.trainable import frozen

OBSERVED, LEARNED, NONE = LIBRARIES = ("observed", "learned", "none")
"""observed: the row's total over its observed cells. learned: a further latent of each row. none:
each feature has its own mean."""
DISPERSIONS = ("shared", "per-feature", "per-example")
"""shared: one learned θ. per-feature: one for each feature. per-example: a further output of the
decoder for each example and feature."""


class Rates(eqx.Module):
    """The mean m of each count, from the decoder's outputs.

    observed: m = library · softmax(outputs). The softmax is over the observed cells alone, so their
    means add up to their total, and a missing cell's mean follows from the same shares.
    learned: log m = outputs, once `in_rows_of` has put the library into them.
    none: m = σ(start + outputs).

    Args:
        scale: how m is learned without a library.
        mode: one of `LIBRARIES`.
        library: the library size of a row whose own is not known.
        start: an offset that makes means start at that library, shared equally by the features.
        spread: the standard deviation of log library over rows, if it is learned.
        cells: of a row, the cells that have the library as their total; None stands for all.
        of_row: whether the library is that of a row.
    """

    scale: Scale
    mode: str = eqx.field(static=True)
    library: Float[Array, ""] = frozen()
    start: Float[Array, ""] = frozen()
    spread: Float[Array, ""] | None = frozen(default=None)
    cells: Bool[Array, "..."] | None = None
    of_row: bool = eqx.field(static=True, default=False)

    def given(self, x: Example, observed: Observed | None = None) -> "Rates":
        """Return the rates at the library of x: the total of its observed cells."""
        if self.of_row or self.mode != OBSERVED:
            return self
        if observed is None:
            return dataclasses.replace(self, library=jnp.sum(x), of_row=True)
        # A row without an observed cell has the library that is typical of rows.
        some = jnp.any(observed)
        total = jnp.sum(jnp.where(observed, x, 0))
        library = jnp.where(some, total, self.library.astype(total.dtype))
        return dataclasses.replace(self, library=library, cells=observed | ~some, of_row=True)

    def in_rows_of(self, outputs: Outputs, latent: Float[Array, ""]) -> Outputs:
        """Return log m of a row whose log library is `latent` standard deviations above the mean.

        The library's prior is log-normal, because the latent's is N(0, 1).
        """
        assert self.spread is not None
        log_library = jnp.log(self.library) + self.spread * latent
        return log_library.astype(outputs.dtype) + jax.nn.log_softmax(outputs, axis=None)

    def __call__(self, outputs: Outputs) -> Positive:
        """Return m."""
        if self.mode == NONE:
            raw = outputs + self.start
            return Positive(self.scale.sigma(raw), self.scale.log_sigma(raw))
        if self.mode == LEARNED:
            return Positive(jnp.exp(outputs), outputs)
        # A row without counts has m ≈ 0, where x = 0 has probability 1, and finite gradients.
        library = jnp.maximum(self.library.astype(outputs.dtype), 1e-12)
        if self.cells is None:
            log_share = jax.nn.log_softmax(outputs, axis=None)
        else:
            log_share = outputs - jax.nn.logsumexp(outputs, where=self.cells)
        return Positive(library * jnp.exp(log_share), jnp.log(library) + log_share)


class InverseDispersion(eqx.Module):
    """θ of a negative binomial: the variance is m + m²/θ.

    Args:
        raw: the raw value: one number, one for each feature, or an offset of the decoder's output
            that makes training start at the requested θ.
        scale: how raw becomes θ.
        mode: one of `DISPERSIONS`.
    """

    raw: Float[Array, "..."]
    scale: Scale
    mode: str = eqx.field(static=True)

    @property
    def heads(self) -> int:
        """The number of decoder outputs for it, per feature."""
        return 1 if self.mode == "per-example" else 0

    @property
    def trains(self) -> bool:
        return self.mode != "per-example"

    def __call__(self, outputs: Outputs) -> Positive:
        """Return θ, given the decoder's output for it where the mode has one."""
        raw = outputs + self.raw if self.mode == "per-example" else self.raw
        return Positive(self.scale.sigma(raw), self.scale.log_sigma(raw))
