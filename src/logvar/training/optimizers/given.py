"""Optimizers passed as objects: any gradient transformation of Optax.

Nothing is imported from Optax: any object with the functions `init` and `update` will do.
"""

import dataclasses
import inspect
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from logvar.errors import LogvarError
from logvar.training.optimizers.base import DirectionRule, Optimizer


@runtime_checkable
class Transformation(Protocol):
    """`optax.GradientTransformation`."""

    init: Any
    """params → state"""
    update: Any
    """(gradient, state, params) → (what to add to the weights, next state)"""


class GivenRule(DirectionRule):
    """A gradient transformation as a rule: its updates are added to the weights as they are.

    The direction is the negated update, because the step subtracts directions.
    """

    transformation: Transformation = eqx.field(static=True)
    has_own_rate: ClassVar[bool] = True

    def check(self, params: PyTree) -> None:
        def one_step(params: PyTree) -> Any:
            state = self.transformation.init(params)
            taken, loss = jnp.asarray(True), jnp.zeros(())
            return state, *self.direction(params, state, params, taken, loss)

        try:
            hash(self.transformation)  # compiled programs are looked up by it
            state, direction, after = jax.eval_shape(one_step, params)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise _unusable(f"one step of it fails: {reason}") from error
        if _shapes(direction) != _shapes(params) or _shapes(after) != _shapes(state):
            raise _unusable("its updates or its next state have other shapes than before")
        for leaf in jax.tree.leaves(state):
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
                raise _unusable(
                    f"its state holds {leaf.dtype}, which a checkpoint cannot; for random keys use "
                    "jax.random.PRNGKey"
                )

    def init(self, params: PyTree, coordinates: PyTree) -> PyTree:
        return self.transformation.init(jax.tree.map(jnp.divide, params, coordinates))

    def direction(
        self,
        gradient: PyTree,
        state: PyTree,
        params: PyTree,
        taken: Bool[Array, ""],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        more = {"value": loss} if _takes_value(self.transformation) else {}
        updates, after = self.transformation.update(gradient, state, params, **more)
        state = jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, state)
        return jax.tree.map(jnp.negative, updates), state


def _takes_value(transformation: Transformation) -> bool:
    """Return whether `update` takes the loss, as in Optax's extended transformations."""
    parameters = inspect.signature(transformation.update).parameters
    return "value" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


@dataclasses.dataclass(frozen=True)
class Given(Optimizer):
    """An optimizer passed as an object; the learning rate is inside it."""

    transformation: Transformation

    def build(self) -> GivenRule:
        return GivenRule(self.transformation)


def _shapes(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _unusable(reason: str) -> LogvarError:
    return LogvarError(f"optimizer is an object that cannot train this model: {reason}")
