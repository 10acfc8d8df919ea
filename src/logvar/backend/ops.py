"""The operations, each as its plain formula. An extension may compute some of them faster.

Operations on one example are mapped over a batch with `jax.vmap`, as everything in logvar is.
"""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.extension import faster, has
from logvar.scales.numerics import folded, sum_of_softplus

Values = Array | np.ndarray
"""Differentiation returns zeros as NumPy arrays for a weight that nothing depends on."""


def standard_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """`jax.random.normal` in float32."""
    drawn = faster("standard_normal", key, shape)
    return jax.random.normal(key, shape, jnp.float32) if drawn is NotImplemented else drawn


def biased_silu(x: Float[Array, "outputs"], bias: Float[Array, "outputs"]) -> Array:
    """t·sigmoid(t) of t = x + bias (Elfwing et al. 2018, arXiv 1702.03118), for one example."""
    activated = faster("biased_silu", x, bias)
    return jax.nn.silu(x + bias) if activated is NotImplemented else activated


def bernoulli_log_prob(x: Float[Array, "*shape"], logits: Float[Array, "*shape"]) -> Array:
    """Σ x·l − log(1 + e^l) over the features of one example, nats."""
    total = faster("bernoulli_log_prob", x, logits)
    if total is not NotImplemented:
        return total
    return jnp.sum(folded(x * logits)) - sum_of_softplus(logits)


def global_norm(gradients: Sequence[Values], factors: Sequence[Values]) -> Float[Array, ""]:
    """√Σ (gradient·factor)² over all arrays."""
    squares = faster("sum_of_squares", gradients, factors)
    if squares is NotImplemented:
        squares = jnp.zeros(())
        for gradient, factor in zip(gradients, factors, strict=True):
            scaled = jnp.asarray(gradient * factor)
            squares += jnp.sum(folded(scaled * scaled))
    return jnp.sqrt(squares)


class AdamNumbers(NamedTuple):
    """The scalars of one update by Adam, in the order in which a fused form reads them.

    With g = clip·factor·gradient + penalty·seen and seen = weight/factor:
    first ← b1·first + (1 − b1)·g, second ← b2·second + (1 − b2)·g²,
    weight ← weight − rate·factor·(scale·first/(√second + added) + decay·seen).
    """

    rate: Float[Array, ""]
    clip: Float[Array, ""]
    scale: Float[Array, ""]
    added: Float[Array, ""]
    penalty: Array | float
    decay: Array | float
    taken: Array
    """Where it is 0, weights and means stay as they are."""
    b1: float
    not_b1: float
    b2: float
    not_b2: float


class AdamLeaves(NamedTuple):
    """The arrays of one update by Adam, leaf by leaf."""

    weights: Sequence[Values]
    first: Sequence[Values]
    second: Sequence[Values]
    gradients: Sequence[Values]
    factors: Sequence[Values]


def fused_adam(numbers: AdamNumbers, leaves: AdamLeaves) -> Any:
    """(weights, first, second) after an update in one pass over memory, or `NotImplemented`.

    The plain form is `training.optimizers`, which XLA fuses on its own.
    """
    return faster("fused_adam", numbers, leaves)


def optimized(function: Callable) -> Callable:
    """The function of arrays, in a form that the extension computes faster; otherwise itself."""
    better = faster("optimized", function)
    return function if better is NotImplemented else better


def computed_once(function: Callable, array: Array, setting: Any) -> Any:
    """function(array, setting), for a result that is used more than once in a program.

    XLA for CPUs computes what it takes to be cheap again for each use; an extension may stop it.
    """
    result = faster("computed_once", function, array, setting)
    return function(array, setting) if result is NotImplemented else result


def on_one_core(when: bool) -> AbstractContextManager:
    """A context for tracing programs of which one runs on each core: their operations keep to the
    thread that runs them, where an extension would use more."""
    context = faster("on_one_core", when)
    return contextlib.nullcontext() if context is NotImplemented else context


def one_core_differs() -> bool:
    """Whether `on_one_core` changes a program: without an extension it would be compiled twice."""
    return has("on_one_core")
