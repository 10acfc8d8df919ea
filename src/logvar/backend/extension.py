"""The interface of the optional package with faster forms, and the search for it.

A package with an entry point in the group `logvar.backend` is used if there is one. The entry
point is a function without arguments that returns an `Extension`. If it cannot be loaded, was
written for another version of the interface, or is not for this machine, nothing changes;
`description` gives the reason.
"""

import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

GROUP = "logvar.backend"
INTERFACE = 1
"""The version of the interface. Raise it when a method of `Extension` is renamed or gets another
meaning: an extension states the version it was written for, and any other is not used."""

Values = Array | np.ndarray
"""JAX returns zeros as NumPy arrays for the gradient of a weight that nothing depends on."""


class AdamNumbers(NamedTuple):
    """The scalars of one step of Adam, whose formula is in `logvar.backend.adam`.

    Their order is part of the interface.
    """

    rate: Float[Array, ""]
    clip: Float[Array, ""]
    scale: Float[Array, ""]
    added: Float[Array, ""]
    penalty: Float[Array, ""] | None
    decay: Float[Array, ""] | None
    taken: Array
    """If 0, weights and means are unchanged."""
    b1: float
    not_b1: float
    b2: float
    not_b2: float


class AdamLeaves(NamedTuple):
    """The arrays of one step of Adam, leaf by leaf."""

    weights: Sequence[Values]
    first: Sequence[Values]
    second: Sequence[Values]
    gradients: Sequence[Values]
    factors: Sequence[Values]


class AdamMoved(NamedTuple):
    """The arrays that a step of Adam changes, after the step."""

    weights: Sequence[Array]
    first: Sequence[Array]
    second: Sequence[Array]


class Extension:
    """Faster forms of operations. This class has none; a subclass overrides the methods it has.

    The docstring of each method names its operation. It takes the operation's arguments and
    returns its result, or None if it has no faster form for these arguments; then logvar computes
    the plain formula. Methods are called while a program is traced.
    """

    name: ClassVar[str] = "none"
    """The name of the package that provides it."""
    version: ClassVar[str] = ""
    interface: ClassVar[int | None] = None
    """The version of the interface it was written for, as a literal number: a reference to
    `INTERFACE` would always agree."""

    def why_inert(self) -> str | None:
        """Return why it computes nothing in this process; None if it does compute."""
        return None

    def standard_normal(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Array | None:
        """`ops.standard_normal`."""
        return None

    def biased_silu(self, x: Array, bias: Array) -> Array | None:
        """`ops.biased_silu`."""
        return None

    def bernoulli_log_prob(self, x: Array, logits: Array) -> Array | None:
        """`ops.bernoulli_log_prob`."""
        return None

    def sum_of_squares(
        self, gradients: Sequence[Values], factors: Sequence[Values]
    ) -> Array | None:
        """Σ (gradient·factor)² over all arrays, for `ops.global_norm`."""
        return None

    def adam_step(self, numbers: AdamNumbers, leaves: AdamLeaves) -> AdamMoved | None:
        """`adam.adam_step`."""
        return None

    def optimized(self, function: Callable) -> Callable | None:
        """`ops.optimized`: a function with the same results."""
        return None

    def computed_once(self, function: Callable, array: Array, setting: Any) -> Any:
        """`ops.computed_once`."""
        return None

    def on_one_core(self, when: bool) -> AbstractContextManager | None:
        """`ops.on_one_core`."""
        return None

    def compiler_options(self, fixed: Sequence[Any]) -> dict[str, Any] | None:
        """XLA's options for a program of `compiling.Compiled`, from the program's inputs, with a
        placeholder for each array."""
        return None

    def rounds_on_request(self) -> bool:
        """Whether a CPU computes products in bfloat16 when they ask for it, for `precision`."""
        return False


class _Found(NamedTuple):
    extension: Extension
    """The base class, which has no faster form, if there is no extension or it is inert."""
    description: str


@functools.cache
def _found() -> _Found:
    entries = list(importlib.metadata.entry_points(group=GROUP))
    if not entries:
        return _Found(Extension(), "none installed; XLA computes everything")
    entry, ignored = entries[0], ", ".join(other.value for other in entries[1:])
    try:
        extension = entry.load()()
        if not isinstance(extension, Extension):
            raise TypeError(f"expected an Extension, got {type(extension).__name__}")
        reason = _other_interface(extension) or extension.why_inert()
    except (ImportError, OSError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        return _Found(Extension(), f"{entry.value} cannot be loaded: {error}")
    named = f"{extension.name} {extension.version}"
    if reason is not None:
        return _Found(Extension(), f"{named}, inert: {reason}")
    others = f"; {ignored} is ignored, because only one is used" if ignored else ""
    return _Found(extension, f"{named}, in use{others}")


def _other_interface(extension: Extension) -> str | None:
    if extension.interface == INTERFACE:
        return None
    return (
        f"it was written for version {extension.interface} of logvar's interface, this logvar has "
        f"version {INTERFACE}; install the {extension.name} that comes with this logvar"
    )


def in_use() -> Extension:
    """Return the extension that computes in this process."""
    return _found().extension


def description() -> str:
    """Return which extension was found, and why if it is inert: a line for `logvar doctor`."""
    return _found().description


def active() -> str:
    """Return the name and version of the extension in use, or "none"."""
    extension = in_use()
    return f"{extension.name} {extension.version}".strip()
