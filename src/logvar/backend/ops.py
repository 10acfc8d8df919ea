"""Operations as plain formulas, some of which an extension may compute faster.

Operations work on one example and are mapped over a batch with `jax.vmap`, as all of logvar.
"""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend import extension
from logvar.backend.extension import Values
from logvar.scales.numerics import combined_by_halves, sum_of_softplus


def standard_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """`jax.random.normal` in float32."""
    faster = extension.in_use().standard_normal(key, shape)
    return jax.random.normal(key, shape, jnp.float32) if faster is None else faster


def biased_silu(x: Float[Array, "outputs"], bias: Float[Array, "outputs"]) -> Array:
    """t·sigmoid(t) of t = x + bias (Elfwing et al. 2018, arXiv 1702.03118), for one example."""
    faster = extension.in_use().biased_silu(x, bias)
    return jax.nn.silu(x + bias) if faster is None else faster


def bernoulli_log_prob(x: Float[Array, "*shape"], logits: Float[Array, "*shape"]) -> Array:
    """Σ x·l − log(1 + e^l) over the features of one example, nats."""
    faster = extension.in_use().bernoulli_log_prob(x, logits)
    return (
        jnp.sum(combined_by_halves(x * logits)) - sum_of_softplus(logits)
        if faster is None
        else faster
    )


def global_norm(gradients: Sequence[Values], factors: Sequence[Values]) -> Float[Array, ""]:
    """√Σ (gradient·factor)² over all arrays."""
    squares = extension.in_use().sum_of_squares(gradients, factors)
    if squares is None:
        squares = jnp.zeros(())
        for gradient, factor in zip(gradients, factors, strict=True):
            scaled = jnp.asarray(gradient * factor)
            squares += jnp.sum(combined_by_halves(scaled * scaled))
    return jnp.sqrt(squares)


def optimized(function: Callable) -> Callable:
    """Return the function in a form that the extension computes faster, or else unchanged."""
    return extension.in_use().optimized(function) or function


def computed_once(function: Callable, array: Array, setting: Any) -> Any:
    """Return function(array, setting), for a result that is used more than once in a program.

    XLA on CPU recomputes for each use what it considers cheap; an extension may prevent that.
    """
    faster = extension.in_use().computed_once(function, array, setting)
    return function(array, setting) if faster is None else faster


def on_one_core(when: bool) -> AbstractContextManager:
    """Return a context for tracing programs that run one per core.

    Their operations stay on the thread that runs them; an extension might use more threads.
    """
    return extension.in_use().on_one_core(when) or contextlib.nullcontext()


def one_core_differs() -> bool:
    """Whether `on_one_core` changes a program; if it does not, compiling twice is avoided."""
    return extension.in_use().on_one_core(True) is not None
