"""The operations of `logvar.backend.ops` in their faster forms."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, PRNGKeyArray

from logvar.backend.extension import AdamLeaves, AdamMoved, AdamNumbers, Values
from logvar.backend.precision import Precision
from logvar_kernels import Kernels, adam, bernoulli, library, silu
from logvar_kernels.normal import normal
from logvar_kernels.programs import rewritten

# XLA 0.10 hands each matrix product to a library (YNNPACK) that computes those of small networks
# at about 120 GFLOP/s on an Intel Xeon; XLA's own reach 190 and more. Naming one kind of fusion
# switches the others off. Sums stay with the library: with XLA's own, the tutorial's step takes
# 1.6 ms more.
_SUMS_ONLY = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


class Forms(Kernels):
    """The faster forms; each returns None where it is not for its arguments."""

    def why_inert(self) -> str | None:
        reason = library.why_not()
        if reason is None and jax.default_backend() != "cpu":
            return f"it computes on CPUs, and JAX computes on {jax.default_backend()} here"
        return reason

    def standard_normal(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Array | None:
        if not library.in_use():
            return None
        return normal(jax.random.key_data(key), math.prod(shape)).reshape(shape)

    def biased_silu(self, x: Array, bias: Array) -> Array | None:
        return silu.silu(x, bias) if silu.suits(x, bias) else None

    def bernoulli_log_prob(self, x: Array, logits: Array) -> Array | None:
        return bernoulli.total(x, logits) if bernoulli.suits(x, logits) else None

    def sum_of_squares(
        self, gradients: Sequence[Values], factors: Sequence[Values]
    ) -> Array | None:
        return adam.sum_of_squares(gradients, factors) if adam.suits(gradients, factors) else None

    def adam_step(self, numbers: AdamNumbers, leaves: AdamLeaves) -> AdamMoved | None:
        return (
            adam.adam_step(numbers, leaves) if adam.suits(leaves.weights, leaves.factors) else None
        )

    def optimized(self, function: Callable) -> Callable | None:
        return rewritten(function) if library.in_use() else None

    def computed_once(self, function: Callable, array: Array, setting: Any) -> Any:
        """A call that XLA must not inline. A barrier does not help: it is gone before XLA decides
        what to compute again."""
        if not library.in_use():
            return None
        with set_xla_metadata(inlineable="false"):
            return jax.jit(function, static_argnums=1)(array, setting)

    def on_one_core(self, when: bool) -> AbstractContextManager:
        return library.on_one_core(when)

    def compiler_options(self, fixed: Sequence[Any]) -> dict[str, Any] | None:
        """Products in bfloat16 stay with the library: XLA's own would compute them in float32."""
        bfloat16 = any(value is Precision.BFLOAT16 for value in fixed)
        return None if bfloat16 or not library.in_use() else _SUMS_ONLY

    def rounds_on_request(self) -> bool:
        return library.in_use()  # `programs` rewrites products that ask for bfloat16
