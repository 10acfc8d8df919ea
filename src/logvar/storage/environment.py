"""The environment that computes a run: libraries, processor, kernels.

A change of it is not an error. The results stay correct but may differ in the last bits, so a run
that is resumed after a change does not end in the same bytes as an uninterrupted run.
"""

import importlib.metadata
import platform
import re
from collections.abc import Mapping
from pathlib import Path

_LIBRARIES = ("logvar", "jax", "jaxlib", "equinox", "numpy")
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}  # widest first


def environment() -> dict[str, str]:
    """Return what determines the last bits of a result, by name, as plain text."""
    import jax  # here, because commands read run folders before they import JAX

    from logvar.backend import extension

    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    found["backend"] = jax.default_backend()
    found["processor"] = processor()
    found["kernels"] = extension.active()
    return found


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model of the accelerator, or of the CPU with its vector instructions.

    Virtual machines often hide the model ("AMD EPYC"), but the instructions decide how XLA
    compiles.
    """
    import jax

    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    model = re.search(r"^model name\s*:\s*(.*\S)", text, re.MULTILINE)
    name = model[1] if model else platform.processor() or platform.machine() or "unknown"
    flags = re.search(r"^flags\s*:(.*)", text, re.MULTILINE)
    vectors = [_VECTORS[flag] for flag in _VECTORS if flags and flag in flags[1].split()]
    return f"{name} with {vectors[0]}" if vectors else name


def changes(begun: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the differences between two environments; empty if there are none.

    Only names in both are compared, because checkpoints of earlier versions have fewer.

    Example:
        >>> changes({"jax": "0.10.2", "numpy": "2.4"}, {"jax": "0.11.0", "numpy": "2.4"})
        'begun with jax 0.10.2, resumed with jax 0.11.0'
    """
    names = [name for name in begun if name in now and begun[name] != now[name]]
    if not names:
        return ""
    before, after = (", ".join(f"{name} {of[name]}" for name in names) for of in (begun, now))
    return f"begun with {before}, resumed with {after}"
