"""How the command line answers what it is given: warnings and removed flags, in one line each."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from logvar.errors import LogvarError, OutsideTrainingRange
from logvar.recipe import REMOVED


def refuse_removed(arguments: list[str]) -> None:
    """Answer a flag of an earlier version with its new spelling."""
    for argument in arguments:
        name = argument.split("=", 1)[0].removeprefix("--").replace("-", "_")
        if argument.startswith("--") and name in REMOVED:
            raise LogvarError(REMOVED[name].replace("optimizer=", "--optimizer "))


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Our own warnings on stderr as one line each, and each once."""
    before, said = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, OutsideTrainingRange):
            before(message, category, *where)
        elif str(message) not in said:
            said.add(str(message))
            print(f"logvar: {message}", file=sys.stderr)  # noqa: T201

    with warnings.catch_warnings():
        warnings.simplefilter("always", OutsideTrainingRange)
        warnings.showwarning = show  # type: ignore[assignment]
        yield
