"""What every optimizer is: a specification that builds a rule."""

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
    """What the gradient is multiplied by to limit its norm; 1 where it is within the limit."""
    taken: Bool[Array, ""]
    """False where loss or gradient are not finite: weights and state then stay as they are."""
    loss: Float[Array, ""]
    """Of the batch."""


class Rule(eqx.Module):
    """An optimizer as a compiled step takes it: arrays are inputs of the program.

    It works in the coordinates of the run: with the factor c of a weight it sees weight ÷ c and
    gradient × c, and moves the weight by c times what it would move weight ÷ c.

    A state consists of arrays. It can be converted to another scale if it is a NamedTuple with
    `degrees`: for each of its fields that is a tree of weights, 1 where it scales with the gradient
    and 2 where with its square.
    """

    has_own_rate: ClassVar[bool] = False
    """Whether the learning rate is inside it, so that the run's is not used."""

    def check(self, params: PyTree) -> None:
        """Check that the optimizer can train these weights.

        Raises:
            LogvarError: it cannot; the message says why.
        """

    @abc.abstractmethod
    def init(self, params: PyTree, coordinates: PyTree) -> PyTree:
        """The state before the first step."""

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
            gradient: of the loss with respect to them, not yet clipped.
            state: from `init` or the step before.
            coordinates: the factor of each weight.
            scalars: of this step.
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
            # XLA fuses this choice into the update it guards, without a pass over memory.
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
        """Return (direction, next state), or the state as it was where the step is not taken.

        Args:
            gradient: clipped; like params and the direction, in the coordinates of the run.
            state: from `init` or the step before.
            params: the weights.
            taken: as in `StepScalars`.
            loss: of the batch.
        """


class Optimizer(abc.ABC):
    """The specification of an optimizer: hashable, without arrays."""

    @abc.abstractmethod
    def build(self) -> Rule:
        """The rule for a compiled step."""


def unless_zero(value: float) -> Number | None:
    """A setting as an input of a compiled program; of one that is off at 0 it then has nothing."""
    return from_host(np.float32(value)) if value else None


def l2_penalty() -> Any:
    """The setting of a weight decay that is a penalty."""
    return setting(0.0, help="an L2 penalty: added to the gradient", at_least=0, below=math.inf)


def zeros(params: PyTree) -> PyTree:
    """Zeros in the shapes of the weights; nothing is compiled for them."""
    return jax.tree.map(lambda weight: from_host(np.zeros(weight.shape, weight.dtype)), params)
