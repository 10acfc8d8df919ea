"""What a run must remember to go on as if it had never stopped."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.model import Model
from logvar.objectives import Terms
from logvar.training.optimizers import Rule


class Totals(eqx.Module):
    """Sums over the examples of the epoch so far; means are taken when it is reported."""

    terms: Terms
    loss: Float[Array, ""]
    count: Float[Array, ""]

    @classmethod
    def zero(cls, latent_dim: int) -> "Totals":
        terms = Terms(jnp.zeros(()), jnp.zeros(latent_dim), jnp.zeros(()))
        return cls(terms, jnp.zeros(()), jnp.zeros(()))


class TrainState(eqx.Module):
    """Weights, optimizer, step, best so far and the stopping counters, all as arrays.

    Noise and order are functions of (seed, epoch, step), so nothing else needs to be saved.
    """

    params: PyTree
    optimizer: PyTree
    totals: Totals
    step: Int[Array, ""]
    """Steps taken; the epoch is step // steps per epoch."""
    failed_step: Int[Array, ""]
    """The step whose loss or gradient was not finite and was therefore not taken; −1 is none."""
    rescues: Int[Array, ""]
    """How often training went back after a step that was not finite."""
    bounded: Bool[Array, ""]
    """Whether one of those times gave the scale bounds."""
    best_params: PyTree
    """The weights with the best held-out ELBO, which a rescue goes back to."""
    best_elbo: Float[Array, ""]
    best_epoch: Int[Array, ""]
    """The epoch after which the held-out ELBO was best, counted from 1; 0 is none yet."""


def partition(model: Model) -> tuple[PyTree, Any]:
    """Split a model into (trainable arrays, everything else)."""
    return eqx.partition(model, model.trainable())


@eqx.filter_jit  # one program: array by array it would compile twenty
def initial_state(
    model: Model, optimizer: Rule, latent_dim: int, coordinates: PyTree
) -> TrainState:
    """The state before the first step."""
    params, _ = partition(model)
    seen = jax.tree.map(jnp.divide, params, coordinates)
    state = TrainState(
        params=params,
        optimizer=optimizer.init(seen),
        totals=Totals.zero(latent_dim),
        step=jnp.zeros((), jnp.int32),
        failed_step=jnp.full((), -1, jnp.int32),
        rescues=jnp.zeros((), jnp.int32),
        bounded=jnp.zeros((), bool),
        best_params=params,
        best_elbo=jnp.full((), -jnp.inf, jnp.float32),
        best_epoch=jnp.zeros((), jnp.int32),
    )
    # A compiled chunk reuses the state's memory, each buffer once: no two leaves may share one.
    return jax.tree.map(jnp.copy, state)
