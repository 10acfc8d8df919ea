"""Adam in its variants: with an L2 penalty, with decoupled weight decay, and as Keras has it."""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import from_host
from logvar.registry import setting
from logvar.training.optimizers.base import (
    Number,
    Optimizer,
    Rule,
    l2_penalty,
    unless_zero,
    zeros,
)


class AdamState(NamedTuple):
    """Running means of the gradient and of its square."""

    steps: Int[Array, ""]
    first: PyTree
    second: PyTree

    @property
    def degrees(self) -> dict[str, int]:
        return {"first": 1, "second": 2}


class AdamRule(Rule):
    """Adam (Kingma & Ba 2015) as the paper's Algorithm 1 or as Keras computes it.

    The textbook's direction is m̂ / (√v̂ + ε) with m̂ = m/(1 − b1ᵗ), v̂ = v/(1 − b2ᵗ); Keras adds ε
    before the bias correction, √(1 − b2ᵗ)/(1 − b1ᵗ) · m / (√v + ε). The tutorial's weights after
    five steps differ by 2e-4 between the two. (Implemented here, because Keras's is in no library
    for JAX, and because of the barrier below; a test compares it with Optax's.)
    """

    penalty: Number | None
    """Weight decay as an L2 penalty: added to the gradient."""
    decay: Number | None
    """Decoupled weight decay (Loshchilov & Hutter 2019): added to the direction."""
    # Constants of the program, as is what follows from them: as inputs they round differently in
    # a fleet, and comparisons of earlier versions would not repeat to the byte.
    b1: float = eqx.field(static=True)
    b2: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    eps_before_correction: bool = eqx.field(static=True)

    def init(self, params: PyTree, coordinates: PyTree) -> AdamState:
        return AdamState(from_host(np.zeros((), np.int32)), zeros(params), zeros(params))

    def update(
        self,
        gradient: PyTree,
        state: AdamState,
        params: PyTree,
        taken: Bool[Array, ""],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        if self.penalty is not None:
            gradient = jax.tree.map(lambda g, p: g + self.penalty * p, gradient, params)
        direction, state = self._adam(gradient, state, taken)
        if self.decay is not None:
            direction = jax.tree.map(lambda d, p: d + self.decay * p, direction, params)
        return direction, state

    def _adam(self, gradient: PyTree, state: AdamState, taken: Array) -> tuple[PyTree, AdamState]:
        def mean(rate: float, old: Array, new: Array) -> Array:
            return jnp.where(taken, rate * old + (1 - rate) * new, old)

        first = jax.tree.map(lambda m, g: mean(self.b1, m, g), state.first, gradient)
        second = jax.tree.map(lambda v, g: mean(self.b2, v, g * g), state.second, gradient)
        # Without the barrier XLA computes the means again where the weights are updated, from the
        # old ones, of which it then keeps copies: 1.2 ms for 0.8 million weights instead of 0.7.
        first, second = lax.optimization_barrier((first, second))
        steps, scale, added = self.counted(state.steps, taken)
        towards = jax.tree.map(lambda m, v: scale * m / (jnp.sqrt(v) + added), first, second)
        return towards, AdamState(steps, first, second)

    def counted(
        self, steps: Int[Array, ""], taken: Bool[Array, ""]
    ) -> tuple[Int[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """(steps, scale, added) of a step: the direction is scale · first / (√second + added)."""
        steps = jnp.where(taken, steps + 1, steps)
        t = steps.astype(jnp.float32)
        root = jnp.sqrt(1 - self.b2**t)
        scale = root / (1 - self.b1**t)
        added = jnp.asarray(self.eps) if self.eps_before_correction else self.eps * root
        return steps, scale, added


def _b1() -> Any:
    return setting(0.9, help="how much of the mean gradient stays", at_least=0, below=1)


def _b2() -> Any:
    return setting(0.999, help="how much of the mean square stays", at_least=0, below=1)


def _eps(default: float) -> Any:
    return setting(default, help="ε, added to the root", above=0, below=math.inf)


class _AnyAdam(Optimizer):
    """What the variants share."""

    weight_decay: float
    b1: float
    b2: float
    eps: float

    def _rule(self, *, penalty: float = 0.0, decay: float = 0.0, keras: bool = False) -> AdamRule:
        return AdamRule(unless_zero(penalty), unless_zero(decay), self.b1, self.b2, self.eps, keras)


@dataclasses.dataclass(frozen=True)
class Adam(_AnyAdam):
    """m̂ / (√v̂ + ε) of the gradient plus weight_decay · weight."""

    weight_decay: float = l2_penalty()
    b1: float = _b1()
    b2: float = _b2()
    eps: float = _eps(1e-8)

    def build(self) -> AdamRule:
        return self._rule(penalty=self.weight_decay)


@dataclasses.dataclass(frozen=True)
class AdamW(_AnyAdam):
    """m̂ / (√v̂ + ε) + weight_decay · weight."""

    weight_decay: float = setting(
        1e-2, help="decoupled: added to the direction", at_least=0, below=math.inf
    )
    b1: float = _b1()
    b2: float = _b2()
    eps: float = _eps(1e-8)

    def build(self) -> AdamRule:
        return self._rule(decay=self.weight_decay)


@dataclasses.dataclass(frozen=True)
class AdamKeras(_AnyAdam):
    """Adam with ε before the bias correction, of the gradient plus weight_decay · weight."""

    weight_decay: float = l2_penalty()
    b1: float = _b1()
    b2: float = _b2()
    eps: float = _eps(1e-7)

    def build(self) -> AdamRule:
        return self._rule(penalty=self.weight_decay, keras=True)
