"""The errors meant for users: each says what, got, expected, and what to do next."""

import difflib
from collections.abc import Iterable


class LogvarError(ValueError):
    """Invalid input from the user; the message is one line and says what to do."""


class LogvarTypeError(LogvarError, TypeError):
    """The same, when Python's convention asks for a TypeError."""


class OutsideTrainingRange(UserWarning):
    """Rows lie so far outside the training range that the encoder's output is meaningless there.

    They are encoded from the nearest point inside the range, and scored as they are.
    """


class FewEffectiveSamples(UserWarning):
    """Rows were drawn given cells, by weights of which a few outweigh all others."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> LogvarError:
    """Build the error for a name that is not registered, with the nearest registered name.

    Example:
        >>> str(unknown_name("scale", "log-sd", ["log-std", "softplus"]))
        "unknown scale 'log-sd': did you mean 'log-std'? Known: log-std, softplus"
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return LogvarError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(names)}")
