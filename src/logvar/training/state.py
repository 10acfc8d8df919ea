"""The state of a run: everything needed to resume it as if it had never stopped."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import from_host
from logvar.models.base import Model, Terms
from logvar.trainable import trainable
from logvar.training.extras import Extras
from logvar.training.optimizers import Rule


class Totals(eqx.Module):
    """Sums over the examples of the epoch so far; means are computed when it is reported."""

    terms: Terms
    loss: Float[Array, ""]
    count: Float[Array, ""]

    @classmethod
    def zero(cls, model: Model) -> "Totals":
        """Return zeros in the structure of a model's terms."""
        log_likelihood, kl, loss, count = (
            from_host(np.zeros(shape)) for shape in ((), model.groups, (), ())
        )
        statistic = None
        if model.likelihood.has_statistic:
            statistic = from_host(np.zeros((2,) if model.has_missing else ()))
        return cls(Terms(log_likelihood, kl, statistic), loss, count)

    def emptied(self) -> "Totals":
        """Return zeros of the same structure."""
        return jax.tree.map(jnp.zeros_like, self)


class TrainState(eqx.Module):
    """Weights, optimizer, step, best weights and stopping counters, all as arrays.

    Noise and order are functions of (seed, epoch, step), so nothing else needs to be saved.
    """

    params: PyTree
    optimizer: PyTree
    totals: Totals
    step: Int[Array, ""]
    """Steps taken; the epoch is step // steps per epoch."""
    failed_step: Int[Array, ""]
    """The step that was not taken because its loss or gradient was not finite; −1 means none."""
    rescues: Int[Array, ""]
    """The number of rescues so far."""
    bounded: Bool[Array, ""]
    """Whether a rescue has bounded the scale."""
    best_params: PyTree
    """The weights with the best held-out ELBO, to which a rescue returns."""
    best_elbo: Float[Array, ""]
    best_epoch: Int[Array, ""]
    """The epoch after which the held-out ELBO was best, counted from 1; 0 means none yet."""
    extras: Extras | None = None
    """The objective's own weights and their optimizer, if it has any."""
    average: PyTree = None
    """The moving average of the weights, if the run keeps one."""

    @property
    def evaluated(self) -> PyTree:
        """The weights that are evaluated and kept: the averaged ones, if the run averages."""
        return self.params if self.average is None else self.average


def partition(model: Model) -> tuple[PyTree, Any]:
    """Split a model into (trainable arrays, everything else)."""
    return eqx.partition(model, trainable(model))


def initial_state(
    model: Model,
    optimizer: Rule,
    coordinates: PyTree,
    extras: Extras | None = None,
    averages: bool = False,
) -> TrainState:
    """Return the state before the first step; built-in optimizers compile nothing for it.

    Args:
        model: the model.
        optimizer: its optimizer.
        coordinates: the coordinates that the optimizer works in.
        extras: the objective's own weights, if it has any.
        averages: whether the run keeps an average of the weights.
    """
    params, _ = partition(model)
    zero = from_host(np.zeros((), np.int32))
    state = TrainState(
        params=params,
        optimizer=optimizer.init(params, coordinates),
        totals=Totals.zero(model),
        step=zero,
        failed_step=from_host(np.asarray(-1, np.int32)),
        rescues=zero,
        bounded=from_host(np.zeros((), bool)),
        best_params=params,
        best_elbo=from_host(np.asarray(-np.inf, np.float32)),
        best_epoch=zero,
        extras=extras,
        average=params if averages else None,
    )
    # A compiled chunk reuses each buffer of the state once, so no two leaves may share one.
    return jax.tree.map(_copy, state)


def _copy(leaf: Array) -> Array:
    if isinstance(leaf, jax.core.Tracer):
        return jnp.copy(leaf)
    return jax.device_put(leaf, may_alias=False)  # `jnp.copy` would compile for each shape
