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


def cores() -> int:
    """How many cores of a CPU this process computes on; 1 where an accelerator computes."""
    if jax.default_backend() != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function's results in the order of the items, with at most `MOST` of them under way.

    JAX's settings made by a `with`, such as `jax.enable_x64`, hold for one thread: where this one
    has any, the items are worked on here, one after another.

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


def _settings() -> dict[str, Any]:
    return dict(jax.config.values)
