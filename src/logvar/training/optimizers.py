"""Optimizers as directions: the step multiplies them by −learning rate, which stays a plain
number that a compiled program takes as input."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from logvar.backend.compiling import from_host
from logvar.errors import unknown_name

OPTIMIZERS = ("adam", "adamw", "adam-keras", "sgd")
"""The names a recipe may use."""
B1, B2 = 0.9, 0.999
"""How much of Adam's means of the gradient and of its square stays at each step."""


Number = float | Float[Array, ""]


def _is_some(number: Number) -> bool:
    """Whether there is any: an array counts, since its value is not known while compiling."""
    return not isinstance(number, int | float) or number != 0


class AdamState(NamedTuple):
    """Running means of the gradient and of its square."""

    steps: Int[Array, ""]
    first: PyTree
    second: PyTree


class Optimizer(NamedTuple):
    """A way from gradients to the direction to step against.

    Adam (Kingma & Ba 2015) as the paper's Algorithm 1 or as Keras computes it. The textbook's
    direction is m̂ / (√v̂ + ε) with m̂ = m/(1 − b1ᵗ), v̂ = v/(1 − b2ᵗ); Keras adds ε before the
    bias correction, √(1 − b2ᵗ)/(1 − b1ᵗ) · m / (√v + ε). The tutorial's weights after five steps
    differ by 2e-4 between the two. (Ours, because Keras's is in no library for JAX, and because of
    the barrier below; a test holds it to Optax's.)
    """

    adam: bool
    eps: float
    eps_before_correction: bool
    penalty: Number
    """Weight decay as an L2 penalty: added to the gradient."""
    decay: Number
    """Decoupled weight decay (Loshchilov & Hutter 2019): added to the direction."""

    def init(self, params: PyTree) -> PyTree:
        """The state before the first step; it depends on the shapes of the weights alone."""
        if not self.adam:
            return ()
        zeros = jax.tree.map(lambda weight: from_host(np.zeros(weight.shape, weight.dtype)), params)
        return AdamState(from_host(np.zeros((), np.int32)), zeros, zeros)

    def update(
        self, gradient: PyTree, state: PyTree, params: PyTree, taken: Bool[Array, ""]
    ) -> tuple[PyTree, PyTree]:
        """Return (direction, next state), or the state as it was where the step is not taken."""
        if _is_some(self.penalty):
            gradient = jax.tree.map(lambda g, p: g + self.penalty * p, gradient, params)
        if self.adam:
            gradient, state = self._adam(gradient, state, taken)
        if _is_some(self.decay):
            gradient = jax.tree.map(lambda d, p: d + self.decay * p, gradient, params)
        return gradient, state

    def _adam(self, gradient: PyTree, state: AdamState, taken: Array) -> tuple[PyTree, AdamState]:
        def mean(rate: float, old: Array, new: Array) -> Array:
            return jnp.where(taken, rate * old + (1 - rate) * new, old)

        first = jax.tree.map(lambda m, g: mean(B1, m, g), state.first, gradient)
        second = jax.tree.map(lambda v, g: mean(B2, v, g * g), state.second, gradient)
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
        root = jnp.sqrt(1 - B2**t)
        scale = root / (1 - B1**t)
        added = jnp.asarray(self.eps) if self.eps_before_correction else self.eps * root
        return steps, scale, added


def direction(name: str, weight_decay: Number) -> Optimizer:
    """The optimizer of a name; weight decay is decoupled for "adamw", otherwise a penalty.

    Raises:
        LogvarError: no optimizer has that name.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    keras = name == "adam-keras"
    penalty, decay = (0.0, weight_decay) if name == "adamw" else (weight_decay, 0.0)
    return Optimizer(name != "sgd", 1e-7 if keras else 1e-8, keras, penalty, decay)
