"""The optional package with faster forms of some operations, found through an entry point.

A distribution that has the entry point `forms` in the group `logvar.backend` is asked first. The
entry point is a function without arguments that returns an `Extension`. One that cannot be loaded,
or is not for this machine, changes nothing; `description` says why.
"""

import functools
import importlib.metadata
from typing import Any, NamedTuple, Protocol

GROUP = "logvar.backend"


class Extension(Protocol):
    """Faster forms, as methods of the names that `faster` is called with in `logvar.backend`.

    Most are those of an operation in `logvar.backend.ops`. Each takes the operation's arguments and
    returns its result, or `NotImplemented` where it is not made for these arguments. A form that
    the extension does not have may be missing.
    """

    name: str
    """Its distribution and version."""

    def why_inert(self) -> str | None:
        """Why it computes nothing in this process; None where it does."""


class _Found(NamedTuple):
    extension: Extension | None
    """None where there is none, or where it is inert."""
    description: str


@functools.cache
def _found() -> _Found:
    entries = list(importlib.metadata.entry_points(group=GROUP))
    if not entries:
        return _Found(None, "none installed; XLA computes everything")
    entry, ignored = entries[0], ", ".join(other.value for other in entries[1:])
    try:
        extension: Extension = entry.load()()
        reason = extension.why_inert()
    except (ImportError, OSError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        return _Found(None, f"{entry.value} cannot be loaded: {error}")
    if reason is not None:
        return _Found(None, f"{extension.name}, inert: {reason}")
    others = f"; {ignored} is ignored, because only one is used" if ignored else ""
    return _Found(extension, f"{extension.name}, in use{others}")


def description() -> str:
    """Which extension there is, and why it is inert if it is: one line for `logvar doctor`."""
    return _found().description


def active() -> str:
    """The name of the extension that computes in this process, or "none"."""
    extension = _found().extension
    return "none" if extension is None else extension.name


def faster(operation: str, *arguments: Any) -> Any:
    """The result of the extension's form of an operation, or `NotImplemented`."""
    form = getattr(_found().extension, operation, None)
    return NotImplemented if form is None else form(*arguments)


def has(operation: str) -> bool:
    """Whether the extension in use has a form of an operation."""
    return hasattr(_found().extension, operation)
