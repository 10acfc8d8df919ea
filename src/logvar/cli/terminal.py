"""Input checks and output of the command line: missing paths, removed flags and warnings.

Each is answered in one line. Nothing heavy is imported here.
"""

import contextlib
import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from logvar.data.paths import check_readable
from logvar.errors import (
    FewEffectiveSamples,
    LogvarError,
    OutsideTrainingRange,
    unknown_name,
)
from logvar.recipe.older import MOVED, spelled
from logvar.storage.run_folder import check_finished

_OWN = (OutsideTrainingRange, FewEffectiveSamples)


def refuse_removed(arguments: list[str]) -> None:
    """Answer a flag of an earlier version with its new spelling."""
    for i, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        if not argument.startswith("--") or name not in MOVED:
            continue
        following = itertools.takewhile(lambda a: not a.startswith("--"), arguments[i + 1 :])
        value = "false" if flag.startswith("--no-") else value or ", ".join(following)
        part, text = spelled(name, value or "…")
        raise LogvarError(f"{flag} is a setting of the {part}: write --{part} {text!r}")


def refuse_unknown(arguments: list[str], commands: Iterable[str]) -> None:
    """Answer a command that does not exist with the nearest one that does."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        raise unknown_name("command", arguments[0], commands)


def check_given(run: Path, data: str | None = None) -> None:
    """Check that RUN and DATA exist, before JAX is imported.

    Raises:
        LogvarError: the folder has no finished run, or the data cannot be read.
    """
    check_finished(run)
    if data is not None:
        check_readable(data)


def at_least_one(flag: str, value: int) -> None:
    """Check a number of draws that a flag gives.

    Raises:
        LogvarError: it is less than 1.
    """
    if value < 1:
        raise LogvarError(f"{flag} is {value}: expected at least 1")


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print each of our own warnings on stderr once, in one line."""
    before, said = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, _OWN):
            before(message, category, *where)
        elif str(message) not in said:
            said.add(str(message))
            print(f"logvar: {message}", file=sys.stderr)  # noqa: T201

    with warnings.catch_warnings():
        for category in _OWN:
            warnings.simplefilter("always", category)
        warnings.showwarning = show  # type: ignore[assignment]
        yield
