"""Recover from a step that was not finite: go back and retry.

A rescue depends on the state alone (how many there were, and whether the scale was bounded), so a
resumed run does the same as an uninterrupted one.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from logvar.models.vae import VAEModel
from logvar.scales import Scale
from logvar.scales.wrappers import Clamped
from logvar.training.extras import Extras
from logvar.training.optimizers import Rule
from logvar.training.state import TrainState, initial_state, partition

SLOWER = 5.0
"""A rescue divides the learning rate by this."""
CLIP_NORM = 1.0
"""And cuts the gradient's norm to this."""
LOWEST, HIGHEST = -15.0, 10.0
"""If σ itself diverged, log σ is kept between these bounds. There, σ², the KL and their squares are
far from overflow in float32."""


class Remedy(NamedTuple):
    """The learning rate and clipping after a number of rescues."""

    learning_rate: float
    clip_norm: float


def remedy(learning_rate: float, clip_norm: float, rescues: int) -> Remedy:
    """Return the learning rate and clipping after this many rescues; 0 means no clipping."""
    if rescues:
        clip_norm = min(clip_norm or CLIP_NORM, CLIP_NORM)
    return Remedy(learning_rate / SLOWER**rescues, clip_norm)


def bounded(scale: Scale) -> Scale:
    """Return the scale with bounds.

    Inside the bounds σ is unchanged to the bit; outside, gradients lead back inside.
    """
    return Clamped(scale, LOWEST, HIGHEST, straight_through=True)


def is_bounded(scale: Scale) -> bool:
    """Return whether a scale was made by `bounded`."""
    return isinstance(scale, Clamped) and bool(eqx.tree_equal(scale, bounded(scale.scale)))


def under_its_scale(
    model: VAEModel, state: TrainState, coordinates: PyTree
) -> tuple[VAEModel, TrainState, PyTree]:
    """Return everything under the scale that the state was trained with.

    The scale is bounded if a rescue bounded it. Trees of weights, moments or coordinates carry the
    scale of their model in their structure.
    """
    if not bool(state.bounded):
        return model, state, coordinates
    if not is_bounded(model.scale):
        model = eqx.tree_at(lambda model: model.posterior.scale, model, bounded(model.scale))
    structure: Any = jax.tree.structure(partition(model)[0])
    old: Any = jax.tree.structure(state.params)

    def is_weights(node: PyTree) -> bool:
        found: Any = jax.tree.structure(node)
        return found == old

    def moved(node: PyTree) -> PyTree:
        return jax.tree.unflatten(structure, jax.tree.leaves(node)) if is_weights(node) else node

    state, coordinates = jax.tree.map(moved, (state, coordinates), is_leaf=is_weights)
    return model, state, coordinates


def rescued(
    state: TrainState,
    static: Any,
    optimizer: Rule,
    coordinates: PyTree,
    step: int,
    extras: Extras | None = None,
    *,
    bound: bool,
) -> TrainState:
    """Return to the best weights and the beginning of the epoch, with a fresh optimizer.

    An average of the weights starts again from these.

    Args:
        state: the state that failed.
        static: the part of its model that does not train.
        optimizer: its state is initialized again.
        coordinates: the coordinates that the optimizer works in.
        step: the first step of the epoch.
        extras: the objective's own weights, which start again.
        bound: bound the scale from now on.
    """
    model = eqx.combine(state.best_params, static)
    averages = state.average is not None
    fresh = initial_state(model, optimizer, coordinates, extras, averages)
    return dataclasses.replace(
        fresh,
        step=jnp.asarray(step, jnp.int32),
        rescues=state.rescues + 1,
        bounded=state.bounded | bound,
        best_elbo=state.best_elbo,
        best_epoch=state.best_epoch,
    )
