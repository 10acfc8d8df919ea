"""Adam and its variants: with an L2 penalty, with decoupled weight decay, and as in Keras."""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.adam import AdamLeaves, AdamNumbers, adam_step
from logvar.backend.compiling import from_host
from logvar.registry import setting
from logvar.training.optimizers.base import (
    Number,
    Optimizer,
    Rule,
    StepScalars,
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
    """Adam (Kingma & Ba 2015) as in the paper's Algorithm 1 or as in Keras.

    The textbook's direction is m̂ / (√v̂ + ε) with m̂ = m/(1 − b1ᵗ), v̂ = v/(1 − b2ᵗ); Keras adds ε
    before the bias correction, √(1 − b2ᵗ)/(1 − b1ᵗ) · m / (√v + ε). The tutorial's weights after
    five steps differ by 2e-4 between the two. (Implemented here because no library for JAX has the
    Keras variant; `logvar.backend.adam` has the formula of a step. A test compares with Optax.)
    """

    penalty: Number | None
    """Weight decay as an L2 penalty: added to the gradient."""
    decay: Number | None
    """Decoupled weight decay (Loshchilov & Hutter 2019): added to the direction."""
    # Constants of the program, and so is what is computed from them: as inputs they would round
    # differently in a fleet, and comparisons of earlier versions would not repeat to the byte.
    b1: float = eqx.field(static=True)
    b2: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    eps_before_correction: bool = eqx.field(static=True)

    def init(self, params: PyTree, coordinates: PyTree) -> AdamState:
        return AdamState(from_host(np.zeros((), np.int32)), zeros(params), zeros(params))

    def step(
        self,
        params: PyTree,
        gradient: PyTree,
        state: AdamState,
        coordinates: PyTree,
        scalars: StepScalars,
    ) -> tuple[PyTree, AdamState]:
        rate, clip, taken, _ = scalars
        steps, scale, added = self._corrected(state.steps, taken)
        numbers = AdamNumbers(
            rate, clip, scale, added, self.penalty, self.decay, taken,
            self.b1, 1 - self.b1, self.b2, 1 - self.b2,
        )  # fmt: skip
        trees = (params, state.first, state.second, gradient, coordinates)
        moved = adam_step(numbers, AdamLeaves(*(jax.tree.leaves(tree) for tree in trees)))
        structure = jax.tree.structure(params)
        weights, first, second = (jax.tree.unflatten(structure, leaves) for leaves in moved)
        return weights, AdamState(steps, first, second)

    def _corrected(
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
    return setting(0.9, help="share of the mean gradient kept per step", at_least=0, below=1)


def _b2() -> Any:
    return setting(0.999, help="share of the mean square kept per step", at_least=0, below=1)


def _eps(default: float) -> Any:
    return setting(default, help="ε, added to the square root", above=0, below=math.inf)


class _AnyAdam(Optimizer):
    """The settings and the rule that the variants share."""

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
