"""An objective's own trainable weights, such as a critic's, with the state of their optimizer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from logvar.backend.compiling import from_host
from logvar.objectives import Objective
from logvar.randomness import Purpose, stream
from logvar.training import optimizers
from logvar.training.optimizers import StepScalars


class Extras(NamedTuple):
    """The weights and the state of the optimizer that trains them."""

    weights: PyTree
    optimizer: PyTree


def initial_extras(objective: Objective, latent_dim: int, seed: int) -> Extras | None:
    """Return what an objective starts with; None if it has no weights of its own."""
    weights = objective.extras(latent_dim, stream(seed, Purpose.OBJECTIVE))
    if weights is None:
        return None
    rule = optimizers.get(objective.extras_optimizer).build()
    return Extras(weights, rule.init(weights, _ones(weights)))


def updated(
    objective: Objective,
    extras: Extras,
    gradient: PyTree,
    taken: Bool[Array, ""],
    loss: Float[Array, ""],
) -> Extras:
    """Return the weights after a step of their own optimizer; unchanged if it is not taken."""
    rule = optimizers.get(objective.extras_optimizer).build()
    scalars = StepScalars(jnp.asarray(objective.extras_rate), jnp.asarray(1.0), taken, loss)
    return Extras(
        *rule.step(extras.weights, gradient, extras.optimizer, _ones(extras.weights), scalars)
    )


def _ones(weights: PyTree) -> PyTree:
    return jax.tree.map(lambda weight: from_host(np.ones((), weight.dtype)), weights)
