"""Stochastic gradient descent, with optional momentum."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from logvar.registry import setting
from logvar.training.optimizers.base import (
    DirectionRule,
    Number,
    Optimizer,
    l2_penalty,
    unless_zero,
    zeros,
)


class Velocity(NamedTuple):
    """The state of momentum: v of the previous step."""

    velocity: PyTree

    @property
    def degrees(self) -> dict[str, int]:
        return {"velocity": 1}


class SGDRule(DirectionRule):
    """The gradient itself, or v ← momentum · v + gradient (Polyak 1964)."""

    penalty: Number | None
    """Weight decay as an L2 penalty: added to the gradient."""
    momentum: Number | None

    def init(self, params: PyTree, coordinates: PyTree) -> PyTree:
        return () if self.momentum is None else Velocity(zeros(params))

    def direction(
        self,
        gradient: PyTree,
        state: PyTree,
        params: PyTree,
        taken: Bool[Array, ""],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        if self.penalty is not None:
            gradient = jax.tree.map(lambda g, p: g + self.penalty * p, gradient, params)
        if self.momentum is None:
            return gradient, state
        velocity = jax.tree.map(
            lambda v, g: jnp.where(taken, self.momentum * v + g, v), state.velocity, gradient
        )
        return velocity, Velocity(velocity)


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """The gradient plus weight_decay · weight, with v ← momentum · v + gradient."""

    momentum: float = setting(0.0, help="share of the last step to add", at_least=0, below=1)
    weight_decay: float = l2_penalty()

    def build(self) -> SGDRule:
        return SGDRule(unless_zero(self.weight_decay), unless_zero(self.momentum))
