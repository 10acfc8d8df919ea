"""The training loop's messages and questions to its surroundings, in one process and in several."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from logvar.processes.ending import exchanged
from logvar.processes.placement import Placement
from logvar.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.jsonl: means in nats per example at β = 1, and no clocks."""

    epoch: int
    step: int
    loss: float
    train: dict[str, float]
    validation: dict[str, float] | None
    best_epoch: int
    rescues: int
    """Rescues so far."""
    learning_rate: float | None = None
    """The rate of the epoch's last step, if the schedule changes it."""

    def as_dict(self) -> dict[str, Any]:
        line = dataclasses.asdict(self)
        if self.learning_rate is None:
            del line["learning_rate"]
        return line


@runtime_checkable
class Watcher(Protocol):
    """Observes and controls the loop from outside: progress, files, signals."""

    def chunk_steps(self) -> int:
        """Return how many steps to run before asking again; this never changes a result."""

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        """Called after each chunk with the number of steps of the epoch done so far."""

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        """Called after each epoch."""

    def stop_requested(self) -> bool:
        """Return whether the user asked to stop; called between chunks."""


class Together:
    """Asks the watcher of one of several processes, and does what all of them have agreed on.

    Each step waits for the others, so all processes must take the same ones. How many are taken at
    once is said by the first process; a signal to any of them stops all. If a watcher fails, such
    as by a full disk, its process goes on until the next question, and all end there.

    Args:
        watcher: of this process.
        placement: the devices of all processes.
    """

    def __init__(self, watcher: Watcher, placement: Placement):
        self._watcher = watcher
        self._placement = placement
        self._steps = 1
        self._error: Exception | None = None

    def stop_requested(self) -> bool:
        """Return whether any process is asked to stop; called before each `chunk_steps`.

        Raises:
            EndedElsewhere: the watcher of another process has failed.
            Exception: this one has.
        """
        mine = int(self._watcher.stop_requested()), self._watcher.chunk_steps()
        told = exchanged(self._placement, mine, failed=self._error is not None)
        if self._error is not None:
            raise self._error
        self._steps = int(told[0, 1])
        return bool(told[:, 0].any())

    def chunk_steps(self) -> int:
        return self._steps

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        with self._going_on():
            self._watcher.on_chunk(epoch, done, of, state)

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        with self._going_on():
            self._watcher.on_epoch(metrics, state)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (raised once all know of it)
            self._error = self._error or error  # the first is the cause
