"""A step of the optimizer on the weights.

The optimizer sees weight ÷ c and gradient × c for the coordinates c of each weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from logvar.backend.ops import AdamLeaves, AdamNumbers, fused_adam, global_norm
from logvar.training.optimizers import AdamRule, AdamState, Rule


class Stride(NamedTuple):
    """How far a step goes."""

    learning_rate: Float[Array, ""]
    clip: Float[Array, ""]
    """What the gradient is multiplied by, so that its norm is at most as asked."""
    taken: Bool[Array, ""]
    """Whether the step is taken; otherwise weights and optimizer stay as they are."""
    loss: Float[Array, ""]


def norm_of(gradient: PyTree, coordinates: PyTree) -> Float[Array, ""]:
    """The global norm of the gradient in those coordinates."""
    return global_norm(jax.tree.leaves(gradient), jax.tree.leaves(coordinates))


def updated(
    optimizer: Rule,
    params: PyTree,
    gradient: PyTree,
    state: PyTree,
    coordinates: PyTree,
    stride: Stride,
) -> tuple[PyTree, PyTree]:
    """The weights and the optimizer's state after a step."""
    if isinstance(optimizer, AdamRule):
        fused = _fused(optimizer, params, gradient, state, coordinates, stride)
        if fused is not None:
            return fused
    gradient = jax.tree.map(lambda g, c: g * c * stride.clip, gradient, coordinates)
    seen = jax.tree.map(jnp.divide, params, coordinates)
    towards, state = optimizer.update(gradient, state, seen, stride.taken, stride.loss)

    def moved(weight: Array, direction: Array, factor: Array) -> Array:
        # XLA fuses this choice into the update it guards: it costs no pass over memory of its own.
        return jnp.where(stride.taken, weight - stride.learning_rate * (direction * factor), weight)

    return jax.tree.map(moved, params, towards, coordinates), state


def _fused(
    optimizer: AdamRule,
    params: PyTree,
    gradient: PyTree,
    state: AdamState,
    coordinates: PyTree,
    stride: Stride,
) -> tuple[PyTree, AdamState] | None:
    """The same step in one pass over memory, where the backend has one."""
    steps, scale, added = optimizer.counted(state.steps, stride.taken)
    numbers = AdamNumbers(
        stride.learning_rate, stride.clip, scale, added,
        0.0 if optimizer.penalty is None else optimizer.penalty,
        0.0 if optimizer.decay is None else optimizer.decay,
        stride.taken, optimizer.b1, 1 - optimizer.b1, optimizer.b2, 1 - optimizer.b2,
    )  # fmt: skip
    trees = (params, state.first, state.second, gradient, coordinates)
    results = fused_adam(numbers, AdamLeaves(*(jax.tree.leaves(tree) for tree in trees)))
    if results is NotImplemented:
        return None
    weights, first, second = (jax.tree.unflatten(jax.tree.structure(params), x) for x in results)
    return weights, AdamState(steps, first, second)
