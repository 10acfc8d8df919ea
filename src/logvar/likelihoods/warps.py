"""The way back from normal scores to numbers, in JAX: the inverse of `logvar.data.table.warp`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar.trainable import frozen

Numbers = Float[Array, "*batch numbers"]

_FARTHEST = 69.0
"""e⁶⁹ is 1e30."""
_MEANS_TO, _MEANS = 6.4, 257
_NODES_TO, _NODES = 5.0, 161


class Warps(eqx.Module):
    """T⁻¹ of each number column, in model units u = (x − centre)/spread.

    Args:
        y: the knots of each column's spline on its front, (numbers, knots).
        s: their normal scores.
        slope: ds/dy there.
        front: 0 for u = sinh y, 1 for eʸ − margin, 2 for (1 + 2·margin)/(1 + e⁻ʸ) − margin.
        margin: half a rounding step in units of u, where there is a bound.
        step: the rounding step in units of u; 0 if there is none.
        phase: what is added to u before rounding to whole steps.
        low: the smallest u.
        high: the largest u.
        ends: the normal scores of the ends of the training column.
        reach: how far each tail is nearly straight, in units of u.
        tail_s: the normal scores where the lower and the upper tail start; ∓1e9 for none.
        tail_slope: ds/du there.
    """

    y: Float[Array, "numbers knots"] = frozen()
    s: Float[Array, "numbers knots"] = frozen()
    slope: Float[Array, "numbers knots"] = frozen()
    front: Float[Array, "numbers"] = frozen()
    margin: Float[Array, "numbers"] = frozen()
    step: Float[Array, "numbers"] = frozen()
    phase: Float[Array, "numbers"] = frozen()
    low: Float[Array, "numbers"] = frozen()
    high: Float[Array, "numbers"] = frozen()
    ends: Float[Array, "numbers 2"] = frozen()
    reach: Float[Array, "numbers 2"] = frozen()
    tail_s: Float[Array, "numbers 2"] = frozen()
    tail_slope: Float[Array, "numbers 2"] = frozen()

    def inverse(self, s: Numbers) -> Numbers:
        """T⁻¹(s), within the bounds and not rounded."""
        given, s = s, jnp.clip(s, self.tail_s[:, 0], self.tail_s[:, 1])
        at = jnp.sum(s[..., None] >= self.s[:, 1:-1], axis=-1)

        def knot(values: Float[Array, "numbers knots"], after: int) -> Numbers:
            wide = jnp.broadcast_to(values, (*s.shape, values.shape[-1]))
            return jnp.take_along_axis(wide, (at + after)[..., None], axis=-1)[..., 0]

        y0, s0, d0 = knot(self.y, 0), knot(self.s, 0), knot(self.slope, 0)
        w, h, d1 = knot(self.y, 1) - y0, knot(self.s, 1) - s0, knot(self.slope, 1)
        r0, r1 = d0 * w / h, d1 * w / h
        part = jnp.clip((s - s0) / h, 0.0, 1.0)
        b = r0 - part * (r0 + r1 - 2)
        a = 1 - r0 + part * (r0 + r1 - 2)
        t = 2 * part / (b + jnp.sqrt(jnp.maximum(b**2 + 4 * a * part, 0.0)))
        below = jnp.minimum(s - self.s[:, 0], 0.0) / self.slope[:, 0]
        above = jnp.maximum(s - self.s[:, -1], 0.0) / self.slope[:, -1]
        y = jnp.clip(y0 + w * t + below + above, -_FARTHEST, _FARTHEST)
        logistic = (1 + 2 * self.margin) * jax.nn.sigmoid(y) - self.margin
        u = jnp.where(
            self.front == 0,
            jnp.sinh(y),
            jnp.where(self.front == 1, jnp.exp(y) - self.margin, logistic),
        )
        for side, end in ((-1, 0), (1, 1)):
            beyond = jnp.maximum(side * (given - self.tail_s[:, end]), 0.0)
            beyond = jnp.minimum(beyond / (self.tail_slope[:, end] * self.reach[:, end]), _FARTHEST)
            u = u + side * self.reach[:, end] * jnp.sinh(beyond)
        return jnp.clip(u, self.low, self.high)

    def rounded(self, u: Numbers) -> Numbers:
        """Return u rounded to whole steps of x."""
        step = jnp.where(self.step > 0, self.step, 1.0)
        whole = jnp.round((u + self.phase) / step) * step - self.phase
        return jnp.where(self.step > 0, jnp.clip(whole, self.low, self.high), u)

    def means(self, sigma: Float[Array, "numbers"], location: Numbers) -> Numbers:
        """E[T⁻¹(location + σε)] with ε ~ N(0, 1), rounded as values are.

        Values beyond the ends of the training column count as if they were there: a rare draw from
        a heavy tail would otherwise outweigh all the others.

        An integral over 161 points, tabulated for 257 locations. The table does not depend on the
        location, so it is computed once for all rows and draws.
        """
        grid = jnp.linspace(-_MEANS_TO, _MEANS_TO, _MEANS)
        eps = np.linspace(-_NODES_TO, _NODES_TO, _NODES)
        weight = np.exp(-0.5 * eps**2)
        weight /= weight.sum()

        def means_at(location: Float[Array, ""]) -> Float[Array, "numbers"]:
            scores = location + sigma * jnp.asarray(eps, sigma.dtype)[:, None]
            draws = self.inverse(jnp.clip(scores, self.ends[:, 0], self.ends[:, 1]))
            return jnp.asarray(weight, sigma.dtype) @ self.rounded(draws)

        table = jax.lax.map(means_at, grid)
        place = (jnp.clip(location, -_MEANS_TO, _MEANS_TO) + _MEANS_TO) * (
            (_MEANS - 1) / (2 * _MEANS_TO)
        )
        left = jnp.clip(jnp.floor(place), 0.0, _MEANS - 2.0)
        part, at_left = place - left, left.astype(jnp.int32)
        column = jnp.arange(table.shape[1])
        return (1 - part) * table[at_left, column] + part * table[at_left + 1, column]
