"""Let all processes of a run know that one of them cannot go on.

Otherwise JAX ends the others with a dump of its stack, which hides the reason. Processes tell each
other at fixed points, so one that fails can only say so at the next of these. At each, all
processes send an array of the same shape, whether they have failed or not.
"""

import contextlib
import threading
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from logvar.errors import LogvarError
from logvar.processes.placement import Placement
from logvar.processes.runtime import LOSSES

WIDTH = 8
"""The numbers of an exchange; the first is whether the process has failed."""
_PATIENCE_SECONDS = 30.0
"""How long a process that has failed waits for the others to come to an exchange."""


class EndedElsewhere(LogvarError):
    """Another process of the run cannot go on, and says why."""


class _Run:
    """The run that this process is part of, as far as it knows."""

    starting = True
    """Whether training has not begun: what processes tell each other next is by `exchanged`."""
    known = False
    """Whether all processes know that one has failed."""


def exchanged(
    placement: Placement, numbers: Sequence[int] = (), failed: bool = False
) -> Int[np.ndarray, "processes numbers"]:
    """Tell all processes whether this one has failed, and at most seven integers of 32 bits.

    Args:
        placement: the devices of all processes.
        numbers: what else is told; as many in all processes that have not failed.
        failed: whether this process cannot go on.

    Returns:
        What each process has told.

    Raises:
        EndedElsewhere: another process cannot go on.
        ValueError: more numbers than fit.
    """
    if len(numbers) >= WIDTH:
        raise ValueError(f"{len(numbers)} numbers: expected at most {WIDTH - 1}")
    row = [int(failed), *numbers, *[0] * (WIDTH - 1 - len(numbers))]
    told = placement.told(row)
    which = np.flatnonzero(told[:, 0])
    _Run.known = bool(len(which))
    if _Run.known and not failed:
        raise EndedElsewhere(
            f"process {which[0]} of {len(told)} cannot go on, and says why; so all have ended"
        )
    return told[:, 1 : 1 + len(numbers)]


def begin_training(placement: Placement) -> None:
    """Wait until all processes are ready to train.

    Raises:
        EndedElsewhere: one of them has failed before.
    """
    exchanged(placement)
    _Run.starting = False


def let_others_know(placement: Placement) -> bool:
    """After an error, tell the others if they listen; return whether all processes know of it."""
    if _Run.starting and not _Run.known:

        def tell() -> None:
            with contextlib.suppress(*LOSSES):  # another has been lost, which is no news here
                exchanged(placement, failed=True)

        # If another was killed meanwhile, this may wait in vain.
        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        telling.join(_PATIENCE_SECONDS)
    return _Run.known
