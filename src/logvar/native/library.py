"""The compiled kernels: found, asked whether they are for this processor, and made known to XLA."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax
import numpy as np

_FILE = Path(__file__).with_name("kernels") / "kernels.so"
_TARGETS = (
    "logvar_product",
    "logvar_product_left_turned",
    "logvar_product_right_turned",
    "logvar_adam",
    "logvar_squares",
    "logvar_bernoulli",
    "logvar_silu",
    "logvar_normal",
)
SWITCH = "LOGVAR_KERNELS"
"""The environment variable that leaves them out if it is "0"."""


def in_use() -> bool:
    """Whether programs that are compiled now compute with the kernels."""
    return jax.default_backend() == "cpu" and why_not() is None


@functools.cache
def why_not() -> str | None:
    """Why this process computes without the kernels; None where it has them."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0 leaves them out"
    if not _FILE.is_file():
        return "they were not compiled when logvar was installed"
    try:
        library = ctypes.CDLL(str(_FILE))
    except OSError as error:
        return f"they cannot be loaded: {error}"
    if not library.logvar_supported():
        return "this processor has no AVX-512"
    missing = [name for name in _TARGETS if not hasattr(library, name)]
    if missing:
        return f"they are of another version of logvar, without {missing[0]}: install it again"
    for name in _TARGETS:
        target = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(name, target, platform="cpu")
    return None


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextlib.contextmanager
def on_one_core(when: bool) -> Iterator[None]:
    """Kernels of a program that is traced within this keep to the thread that runs it.

    It is for programs of which one runs on each core: a share of a kernel's work would wait for a
    core that is busy. 60,000 images are encoded in 0.86 of the time.
    """
    token = _alone.set(when)
    try:
        yield
    finally:
        _alone.reset(token)


def call(name: str, shapes: Sequence[jax.ShapeDtypeStruct], *operands: Any, **how: Any) -> list:
    """What a kernel makes of its operands: one array for each shape.

    Args:
        name: one of the targets.
        shapes: of the results.
        operands: arrays.
        how: `vmap_method` and what else `jax.ffi.ffi_call` takes.
    """
    attributes = {"alone": np.int32(1)} if _alone.get() else {}
    return list(jax.ffi.ffi_call(name, shapes, **how)(*operands, **attributes))
