"""What every optimizer is: a specification that builds a rule."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from logvar.backend.compiling import from_host
from logvar.registry import setting

Number = Float[Array, ""]


class Rule(eqx.Module):
    """An optimizer as a compiled step takes it: arrays are inputs of the program.

    The step applies weight − learning rate · direction in the coordinates of the run. A state
    consists of arrays. It can be converted to another scale if it is a NamedTuple with `degrees`:
    for each of its fields that is a tree of weights, 1 where it scales with the gradient and 2
    where with its square.
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
        """The state before the first step, for the weights ÷ their coordinates."""

    @abc.abstractmethod
    def update(
        self,
        gradient: PyTree,
        state: PyTree,
        params: PyTree,
        taken: Bool[Array, ""],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        """Return (direction, next state), or the state as it was where the step is not taken.

        Args:
            gradient: of the loss, clipped; like params and the direction, in the coordinates.
            state: from `init` or the step before.
            params: the weights.
            taken: false where loss or gradient are not finite.
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
