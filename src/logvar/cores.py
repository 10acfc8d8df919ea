"""Work done side by side, one piece a core.

The matrix products of small networks are too small to be shared out well: those of 128 rows run 1.5
times as fast on two cores as on one. Whole pieces of work side by side keep both cores busy.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 8
"""Pieces at once, at most: each holds memory of its own."""

_SETTINGS = (
    "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion",
    "jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_custom_prng",
    "jax_default_device", "jax_disable_jit", "jax_debug_nans", "jax_debug_infs",
    "jax_check_tracer_leaks", "jax_enable_checks", "jax_log_compiles", "jax_no_tracing",
    "jax_debug_key_reuse", "jax_legacy_prng_key", "jax_threefry_partitionable",
    "jax_transfer_guard_host_to_device", "jax_transfer_guard_device_to_host",
    "jax_transfer_guard_device_to_device",
)  # fmt: skip
"""Those that JAX has a context manager for: `jax.enable_x64` and so on."""


def cores() -> int:
    """How many cores of a CPU this process computes on; 1 where an accelerator computes."""
    return available_cores() if jax.default_backend() == "cpu" else 1


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function's results in the order of the items, with at most `MOST` of them under way.

    JAX's settings made by a `with`, such as `jax.enable_x64`, hold for one thread: if this one has
    any, it works on the items itself, one after another.

    Raises:
        Exception: what the function raises; items not yet begun are left.
    """
    items = list(items)
    threads = min(cores(), MOST, len(items))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            if pool.submit(_settings).result() == _settings():
                return list(pool.map(function, items))
    return [function(item) for item in items]


def _settings() -> tuple[Any, ...]:
    """This thread's settings; a version of JAX may lack some."""
    return tuple(getattr(jax.config, name, None) for name in _SETTINGS)
