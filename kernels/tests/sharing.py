"""What the tests of the kernels share."""

import jax
import numpy as np
import pytest
from logvar_kernels import library

on_supported_jax = pytest.mark.skipif(
    jax.__version_info__[:2] not in library.SUPPORTED,
    reason=f"logvar-kernels is inert with JAX {jax.__version__}",
)
with_kernels = pytest.mark.skipif(
    not library.in_use(), reason=f"the kernels are inert: {library.why_not()}"
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def products(program):
    """The equations of a program's matrix products, also within its loops, branches and calls."""
    return [e for e in equations(program) if e.primitive is jax.lax.dot_general_p]


def kernels(program):
    """The names of the kernels that a program calls."""
    names = (str(e.params.get("target_name", "")) for e in equations(program))
    return [name for name in names if name.startswith("logvar_")]


def equations(program):
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)
