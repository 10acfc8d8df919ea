"""The compiled kernels: found, asked whether they are for this processor, and made known to XLA."""

import ctypes
import functools
import os
from pathlib import Path

import jax

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
