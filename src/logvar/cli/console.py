"""The console that commands print to."""

import os
import sys

from rich.console import Console


class _Console(Console):
    """A console that tolerates a closed pipe: a run is worth more than its output."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = _Console()


def say(line: str) -> None:
    """Print a line as it is: names of columns and files may have brackets."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "row"), counted(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"
