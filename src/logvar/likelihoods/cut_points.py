"""Ordered levels: one location for each column, and cut points that all rows share."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar.likelihoods.columns import NEVER
from logvar.scales import Scale


class CutPoints(eqx.Module):
    """P(level ≤ k | location) = 1/(1 + exp(location − c_k)), c_0 < c_1 < …, for several columns.

    The proportional odds model (McCullagh 1980). The gaps between cut points are positive through a
    scale. With a = c_{k−1} − location, b = c_k − location and s the logistic function,
    s(b) − s(a) = s(b)·s(−a)·(1 − e^{a−b}), so log P(level = k) is a sum of three terms, each
    precise wherever the location is.

    Args:
        first: c_0 of each column.
        raw: the raw values of the gaps, padded to as many as the column with most levels has.
        scale: how they become gaps.
        widths: the number of levels of each column, at least two.
    """

    first: Float[Array, "columns"]
    raw: Float[Array, "columns gaps"]
    scale: Scale
    widths: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of_shares(cls, log_shares: Sequence[Float[np.ndarray, "_"]], scale: Scale) -> "CutPoints":
        """Return the cut points at which levels have these shares if the location is 0.

        Args:
            log_shares: of each column, the log of the share of each of its levels.
            scale: of the gaps; a gap that it cannot reach starts at the nearest that it can.
        """
        widths = tuple(len(each) for each in log_shares)
        first = np.zeros(len(widths))
        gaps = np.ones((len(widths), max(0, max(widths) - 2)))
        for i, each in enumerate(log_shares):
            shares = np.exp(each)
            cuts = np.log(np.cumsum(shares)[:-1]) - np.log(np.cumsum(shares[::-1])[-2::-1])
            first[i] = cuts[0]
            gaps[i, : len(cuts) - 1] = np.diff(cuts)
        reachable = scale.nearest(jnp.asarray(np.maximum(gaps, 1e-6), jnp.float32))
        raw = jnp.asarray(scale.raw(reachable), jnp.float32)
        return cls(jnp.asarray(first, jnp.float32), raw, scale, widths)

    def log_probs(self, locations: Float[Array, "columns"]) -> Float[Array, "columns levels"]:
        """log P(level = k) of each column; about −1e30 for levels that a column does not have."""
        level, widths = np.arange(max(self.widths)), np.asarray(self.widths)[:, None]
        gaps, log_gaps = self.scale.sigma(self.raw), self.scale.log_sigma(self.raw)
        cuts = self.first[:, None] + jnp.pad(jnp.cumsum(gaps, axis=1), ((0, 0), (1, 0)))
        from_cut = cuts - locations[:, None]
        below = jnp.pad(jax.nn.log_sigmoid(from_cut), ((0, 0), (0, 1)))
        above = jnp.pad(jax.nn.log_sigmoid(-from_cut), ((0, 0), (1, 0)))
        between = jnp.pad(_log_one_minus_exp(gaps, log_gaps), ((0, 0), (1, 1)))
        inner = (level > 0) & (level < widths - 1)
        found = (
            jnp.where(level < widths - 1, below, 0.0)
            + jnp.where(level > 0, above, 0.0)
            + jnp.where(inner, between, 0.0)
        )
        return jnp.where(level < widths, found, NEVER)


def _log_one_minus_exp(x: Array, log_x: Array) -> Array:
    """log(1 − e^{−x}) for x > 0, which may be smaller than float32 can tell from 0."""
    is_small = x < 1e-3
    safe = jnp.where(is_small, 1.0, x)
    return jnp.where(is_small, log_x - x / 2, jnp.log(-jnp.expm1(-safe)))
