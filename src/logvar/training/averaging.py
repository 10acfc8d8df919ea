"""Averaged weights: an exponential moving average over the steps of a run."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree


def averaged_weights(
    average: PyTree,
    params: PyTree,
    share_kept: Float[Array, ""],
    step: Int[Array, ""],
    taken: Bool[Array, ""],
) -> PyTree:
    """Return the average after a step.

    It is m/(1 − dᵗ) of m ← d·m + (1 − d)·weights after t steps: the moving average from 0 with the
    bias correction of Adam, so that the weights of the start do not count. m/(1 − dᵗ) itself is
    kept here, which after the first step is the weights of that step.

    Args:
        average: the average of the steps before.
        params: the weights after this step.
        share_kept: d.
        step: the number of steps before this one.
        taken: whether the step was taken; otherwise the average stays.
    """
    t = step.astype(jnp.float32) + 1
    share = (1 - share_kept) / -jnp.expm1(t * jnp.log(share_kept))

    def moved(mean: Array, weight: Array) -> Array:
        return jnp.where(taken, mean + share * (weight - mean), mean)

    return jax.tree.map(moved, average, params)
