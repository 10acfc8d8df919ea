"""The one kind of error a user is meant to read: what, got, expected, what to do next."""

import difflib
from collections.abc import Iterable


class LogvarError(ValueError):
    """A problem with what the user gave; the message is one line and says what to do."""


class LogvarTypeError(LogvarError, TypeError):
    """The same, where Python's convention asks for a TypeError."""


class OutsideTrainingRange(UserWarning):
    """Rows lie so far outside of the training rows that an encoder's output means nothing there.

    They are encoded from the nearest point of that range, and scored as they are.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> LogvarError:
    """Build the error for a name that is in no registry, with the nearest one that is.

    Example:
        >>> str(unknown_name("scale", "log-sd", ["log-std", "softplus"]))
        "unknown scale 'log-sd': did you mean 'log-std'? Known: log-std, softplus"
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return LogvarError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(names)}")
