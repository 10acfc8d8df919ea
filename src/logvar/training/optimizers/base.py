"""The contract of an optimizer: a specification that builds a rule."""

import abc
import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from logvar.backend.compiling import from_host
from logvar.registry import setting

Number = Float[Array, ""]


class StepScalars(NamedTuple):
    """The numbers of one optimizer step."""

    learning_rate: Float[Array, ""]
    clip: Float[Array, ""]
    """The factor that limits the gradient's norm; 1 if the norm is within the limit."""
    taken: Bool[Array, ""]
    """False if loss or gradient are not finite: weights and state then stay unchanged."""
    loss: Float[Array, ""]
    """The loss of the batch."""


class Rule(eqx.Module):
    """An optimizer inside a compiled step: its arrays are inputs of the program.

    It works in the coordinates of the run: with the factor c of a weight it sees weight ÷ c and
    gradient × c, and moves the weight by c times what it would move weight ÷ c.

    A state consists of arrays. It can be converted to another scale if it is a NamedTuple with
    `degrees`, which says for each field that is a tree of weights how it scales: 1 like the
    gradient, 2 like its square.
    """

    has_own_rate: ClassVar[bool] = False
    """Whether the learning rate is inside the optimizer, so that the run's is not used."""

    def check(self, params: PyTree) -> None:
        """Check that the optimizer can train these weights.

        Raises:
            LogvarError: it cannot; the message says why.
        """

    @abc.abstractmethod
    def init(self, params: PyTree, coordinates: PyTree) -> PyTree:
        """Return the state before the first step."""

    @abc.abstractmethod
    def step(
        self,
        params: PyTree,
        gradient: PyTree,
        state: PyTree,
        coordinates: PyTree,
        scalars: StepScalars,
    ) -> tuple[PyTree, PyTree]:
        """Return the weights and the state after a step.

        Args:
            params: the weights.
            gradient: of the loss with respect to the weights, not yet clipped.
            state: from `init` or the previous step.
            coordinates: the factor of each weight.
            scalars: the numbers of this step.
        """


class DirectionRule(Rule):
    """A rule given by a direction: the step is weight − learning rate · direction."""

    def step(
        self,
        params: PyTree,
        gradient: PyTree,
        state: PyTree,
        coordinates: PyTree,
        scalars: StepScalars,
    ) -> tuple[PyTree, PyTree]:
        gradient = jax.tree.map(lambda g, c: g * c * scalars.clip, gradient, coordinates)
        seen = jax.tree.map(jnp.divide, params, coordinates)
        towards, state = self.direction(gradient, state, seen, scalars.taken, scalars.loss)

        def moved(weight: Array, direction: Array, factor: Array) -> Array:
            # XLA fuses this choice into the update, without another pass over memory.
            step = scalars.learning_rate * (direction * factor)
            return jnp.where(scalars.taken, weight - step, weight)

        return jax.tree.map(moved, params, towards, coordinates), state

    @abc.abstractmethod
    def direction(
        self,
        gradient: PyTree,
        state: PyTree,
        params: PyTree,
        taken: Bool[Array, ""],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        """Return (direction, next state); the state is unchanged if the step is not taken.

        Args:
            gradient: clipped; like params and the direction, in the coordinates of the run.
            state: from `init` or the previous step.
            params: the weights.
            taken: as in `StepScalars`.
            loss: of the batch.
        """


class Optimizer(abc.ABC):
    """The specification of an optimizer: hashable, and without arrays."""

    @abc.abstractmethod
    def build(self) -> Rule:
        """Return the rule for a compiled step."""


def unless_zero(value: float) -> Number | None:
    """Return a setting as an input of a compiled program; None if it is 0, which turns it off."""
    return from_host(np.float32(value)) if value else None


def l2_penalty() -> Any:
    """Return the setting of a weight decay that is an L2 penalty."""
    return setting(0.0, help="an L2 penalty: added to the gradient", at_least=0, below=math.inf)


def zeros(params: PyTree) -> PyTree:
    """Return zeros in the shapes of the weights, without compiling anything."""
    return jax.tree.map(lambda weight: from_host(np.zeros(weight.shape, weight.dtype)), params)
