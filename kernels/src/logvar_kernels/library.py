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

_FILE = Path(__file__).with_name("c") / "kernels.so"
_NOT_COMPILED = _FILE.with_name("not-compiled.txt")
"""Why there is no such file, as written when the package was built (`hatch_build.py`)."""
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
SUPPORTED = ((0, 10),)
"""The versions of JAX that it was tested with."""
SWITCH = "LOGVAR_KERNELS"
"""The environment variable that leaves it out if it is "0"."""


def in_use() -> bool:
    """Whether programs that are compiled now compute with the kernels."""
    return jax.default_backend() == "cpu" and why_not() is None


@functools.cache
def why_not() -> str | None:
    """Why this process computes without the kernels on any device; None where it has them."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0 leaves it out"
    if jax.__version_info__[:2] not in SUPPORTED:
        versions = " and ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        return f"it supports JAX {versions}, this is {jax.__version__}"
    if not _FILE.is_file():
        reason = f": {_NOT_COMPILED.read_text('utf-8')}" if _NOT_COMPILED.is_file() else ""
        return f"its kernels were not compiled when it was installed{reason}"
    try:
        library = ctypes.CDLL(str(_FILE))
    except OSError as error:
        return f"its kernels cannot be loaded: {error}"
    if not library.logvar_supported():
        return "this processor has no AVX-512"
    missing = [name for name in _TARGETS if not hasattr(library, name)]
    if missing:
        return f"its kernels are of another version, without {missing[0]}: install it again"
    try:
        for name in _TARGETS:
            target = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, target, platform="cpu")
    except (RuntimeError, ValueError) as error:  # built against headers newer than this XLA
        return f"XLA does not load its kernels: {error}"
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
