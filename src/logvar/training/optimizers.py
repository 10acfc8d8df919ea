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


class AdamState(NamedTuple):
    """The moments of `scale_by_adam`."""

    steps: Int[Array, ""]
    first: PyTree
    second: PyTree


def scale_by_adam(
    eps: float, *, eps_before_correction: bool, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015), as the paper's Algorithm 1 or as Keras computes it.

    The textbook's direction is m̂ / (√v̂ + ε) with m̂ = m/(1 − b1ᵗ), v̂ = v/(1 − b2ᵗ); Keras adds ε
    before the bias correction, √(1 − b2ᵗ)/(1 − b1ᵗ) · m / (√v + ε). The tutorial's weights after
    five steps differ by 2e-4 between the two. (Optax has the first only, and its form does not
    pass strict dtype promotion; a test holds ours to it.)
    """

    def init(params: PyTree) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(
        updates: PyTree, state: AdamState, params: PyTree = None
    ) -> tuple[PyTree, AdamState]:
        steps = state.steps + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, updates)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.second, updates)
        t = steps.astype(jnp.float32)
        root = jnp.sqrt(1 - b2**t)
        correction = root / (1 - b1**t)
        added = eps if eps_before_correction else eps * root
        towards = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + added), first, second)
        return towards, AdamState(steps, first, second)

    return optax.GradientTransformation(init, update)


@functools.cache
def direction(name: str, weight_decay: float) -> optax.GradientTransformation:
    """The transformation from gradients to the direction to step against.

    Weight decay is decoupled for "adamw" (Loshchilov & Hutter 2019) and an L2 penalty otherwise.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    moments = {
        "adam": scale_by_adam(1e-8, eps_before_correction=False),
        "adamw": scale_by_adam(1e-8, eps_before_correction=False),
        "adam-keras": scale_by_adam(1e-7, eps_before_correction=True),
        "sgd": optax.identity(),
    }[name]
    return optax.chain(moments, *decay) if name == "adamw" else optax.chain(*decay, moments)
