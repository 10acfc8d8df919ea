"""Optimizers as directions: the step multiplies them by −learning rate, which stays a plain
number that a compiled program takes as input."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from logvar.errors import unknown_name

OPTIMIZERS = ("adam", "adamw", "adam-keras", "sgd")
"""The names a recipe may use."""


class KerasAdamState(NamedTuple):
    """The moments of `scale_by_keras_adam`."""

    count: Int[Array, ""]
    first: PyTree
    second: PyTree


def scale_by_keras_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """Adam as Keras computes it: √(1 − b2ᵗ)/(1 − b1ᵗ) · m / (√v + ε).

    ε is added before the bias correction; the textbook adds it after. The tutorial's weights
    after five steps differ by 2e-4 between the two.
    """

    def init(params: PyTree) -> KerasAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return KerasAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(
        updates: PyTree, state: KerasAdamState, params: PyTree = None
    ) -> tuple[PyTree, KerasAdamState]:
        count = state.count + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, updates)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.second, updates)
        t = count.astype(jnp.float32)
        correction = jnp.sqrt(1 - b2**t) / (1 - b1**t)
        direction = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + eps), first, second)
        return direction, KerasAdamState(count, first, second)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


@functools.cache
def direction(name: str, weight_decay: float) -> optax.GradientTransformation:
    """The transformation from gradients to the direction to step against.

    Weight decay is decoupled for "adamw" (Loshchilov & Hutter 2019) and an L2 penalty otherwise.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    if name == "adamw":
        return optax.chain(optax.scale_by_adam(), *decay)
    moments = {
        "adam": optax.scale_by_adam,
        "adam-keras": scale_by_keras_adam,
        "sgd": optax.identity,
    }[name]
    return optax.chain(*decay, moments())
