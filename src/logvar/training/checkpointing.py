"""A `Watcher` that writes checkpoints and forwards to another watcher."""

import time
from collections.abc import Callable, Sequence

from logvar.training.state import TrainState
from logvar.training.watching import EpochMetrics, Watcher

Save = Callable[[TrainState, list[EpochMetrics]], None]


class CheckpointWatcher:
    """Forwards every call to another watcher and saves the state when it is due.

    Args:
        watcher: the other watcher.
        save: writes a state and the epochs before it.
        history: the epochs from before this process.
        seconds: save when this much time has passed; 0 saves after every chunk.
        epochs: also save after every this many epochs; 0 is off.
    """

    def __init__(
        self,
        watcher: Watcher,
        save: Save,
        history: Sequence[EpochMetrics],
        *,
        seconds: int | float,
        epochs: int,
    ):
        self._watcher = watcher
        self._save = save
        self.history = list(history)
        self._seconds = seconds
        self._epochs = epochs
        self._saved_at = time.monotonic()

    def chunk_steps(self) -> int:
        return self._watcher.chunk_steps()

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        self._watcher.on_chunk(epoch, done, of, state)
        # After the last chunk the epoch is not closed yet: on_epoch saves it complete.
        if done < of and int(state.failed_step) < 0 and self._due():
            self.save(state)

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        self.history.append(metrics)
        self._watcher.on_epoch(metrics, state)
        if self._due() or (self._epochs and metrics.epoch % self._epochs == 0):
            self.save(state)

    def stop_requested(self) -> bool:
        return self._watcher.stop_requested()

    def save(self, state: TrainState) -> None:
        """Save now."""
        self._save(state, self.history)
        self._saved_at = time.monotonic()

    def _due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._seconds
