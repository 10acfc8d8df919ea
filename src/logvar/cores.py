"""Run pieces of work in parallel, one per core.

The matrix products of small networks are too small to split well: those of 128 rows run only 1.5
times as fast on two cores as on one. Whole pieces of work in parallel keep both cores busy.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

from logvar.errors import LogvarError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 8
"""The most pieces at once, because each needs memory."""
LIMIT = "LOGVAR_CORES"
"""The environment variable that says on how many cores this process computes at most: one of
several workers leaves the others to them. XLA's own threads do not read it."""

_SETTINGS = (
    "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion",
    "jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_custom_prng",
    "jax_default_device", "jax_disable_jit", "jax_debug_nans", "jax_debug_infs",
    "jax_check_tracer_leaks", "jax_enable_checks", "jax_log_compiles", "jax_no_tracing",
    "jax_debug_key_reuse", "jax_legacy_prng_key", "jax_threefry_partitionable",
    "jax_transfer_guard_host_to_device", "jax_transfer_guard_device_to_host",
    "jax_transfer_guard_device_to_device",
)  # fmt: skip
"""The settings that JAX has a context manager for, such as `jax.enable_x64`."""


def cores() -> int:
    """Return how many CPU cores this process computes on; 1 if an accelerator computes.

    Raises:
        LogvarError: `LIMIT` is set to anything but a positive number.
    """
    if jax.default_backend() != "cpu":
        return 1
    limit = os.environ.get(LIMIT)
    if not limit:
        return available_cores()
    if not limit.isdecimal() or int(limit) < 1:
        raise LogvarError(f"{LIMIT} is {limit!r}: expected a number of cores, such as 1")
    return min(available_cores(), int(limit))


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the function's results in the order of the items, running at most `MOST` at once.

    JAX settings made by a `with`, such as `jax.enable_x64`, hold for one thread. If this thread has
    any, it runs the items itself, one after another.

    Raises:
        Exception: what the function raises; items not yet started are skipped.
    """
    items = list(items)
    threads = min(cores(), MOST, len(items))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            if pool.submit(_settings).result() == _settings():
                return list(pool.map(function, items))
    return [function(item) for item in items]


def _settings() -> tuple[Any, ...]:
    """Return this thread's settings; some may not exist in a version of JAX."""
    return tuple(getattr(jax.config, name, None) for name in _SETTINGS)
