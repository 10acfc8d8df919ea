"""A step of the optimizer on the weights: as written, or in one pass by a kernel of our own.

The optimizer sees weight ÷ c and gradient × c for the coordinates c of each weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from logvar.native.adam import Numbers, adam, suits, sum_of_squares
from logvar.scales.numerics import folded
from logvar.training.optimizers import B1, B2, AdamState, Optimizer


class Stride(NamedTuple):
    """How far a step goes."""

    learning_rate: Float[Array, ""]
    clip: Float[Array, ""]
    """What the gradient is multiplied by, so that its norm is at most as asked."""
    taken: Bool[Array, ""]
    """Whether the step is taken; otherwise weights and optimizer stay as they are."""


def norm_of(gradient: PyTree, coordinates: PyTree) -> Float[Array, ""]:
    """The global norm of the gradient in those coordinates."""
    gradients, factors = jax.tree.leaves(gradient), jax.tree.leaves(coordinates)
    if suits(gradients, factors):
        return jnp.sqrt(sum_of_squares(gradients, factors))
    seen = [g * c for g, c in zip(gradients, factors, strict=True)]
    return jnp.sqrt(sum(jnp.sum(folded(g * g)) for g in seen))


def updated(
    optimizer: Optimizer,
    params: PyTree,
    gradient: PyTree,
    state: PyTree,
    coordinates: PyTree,
    stride: Stride,
) -> tuple[PyTree, PyTree]:
    """The weights and the optimizer's state after a step."""
    if optimizer.adam and suits(jax.tree.leaves(params), jax.tree.leaves(coordinates)):
        return _in_one_pass(optimizer, params, gradient, state, coordinates, stride)
    gradient = jax.tree.map(lambda g, c: g * c * stride.clip, gradient, coordinates)
    seen = jax.tree.map(jnp.divide, params, coordinates)
    towards, state = optimizer.update(gradient, state, seen, stride.taken)

    def moved(weight: Array, direction: Array, factor: Array) -> Array:
        # XLA fuses this choice into the update it guards: it costs no pass over memory of its own.
        return jnp.where(stride.taken, weight - stride.learning_rate * (direction * factor), weight)

    return jax.tree.map(moved, params, towards, coordinates), state


def _in_one_pass(
    optimizer: Optimizer,
    params: PyTree,
    gradient: PyTree,
    state: AdamState,
    coordinates: PyTree,
    stride: Stride,
) -> tuple[PyTree, AdamState]:
    steps, scale, added = optimizer.counted(state.steps, stride.taken)
    numbers = Numbers(
        stride.learning_rate, stride.clip, scale, added, optimizer.penalty, optimizer.decay,
        stride.taken, B1, 1 - B1, B2, 1 - B2,
    )  # fmt: skip
    trees = (params, state.first, state.second, gradient, coordinates)
    leaves = adam(numbers, *(jax.tree.leaves(tree) for tree in trees))
    weights, first, second = (jax.tree.unflatten(jax.tree.structure(params), x) for x in leaves)
    return weights, AdamState(steps, first, second)
