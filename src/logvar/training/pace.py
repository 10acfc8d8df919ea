"""The default `Watcher`: it sets the length of a chunk."""

import time

from logvar.signals import Interrupt
from logvar.training.state import TrainState
from logvar.training.watching import EpochMetrics

_SECONDS_PER_CHUNK = 0.25
_LONGEST_CHUNK = 1_000_000


class Pace:
    """A `Watcher` that keeps chunks near a quarter of a second, so that Ctrl-C acts soon.

    The length of a chunk never changes a result, so it may depend on the clock.
    """

    def __init__(self) -> None:
        self._steps = 1
        self._last = (0, 0)
        self._since = time.perf_counter()
        self._interrupt: Interrupt | None = None

    def listen(self, interrupt: Interrupt) -> None:
        """Let a signal stop the run."""
        self._interrupt = interrupt

    def chunk_steps(self) -> int:
        self._since = time.perf_counter()
        return self._steps

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        state.step.block_until_ready()
        seconds = max(time.perf_counter() - self._since, 1e-6)
        # The last chunk of an epoch is shorter than requested.
        before = self._last[1] if self._last[0] == epoch else 0
        taken, self._last = min(self._steps, done - before), (epoch, done)
        ideal = int(taken * _SECONDS_PER_CHUNK / seconds)
        # At most fourfold at a time: the first chunk's time is mostly compilation.
        self._steps = max(1, min(4 * self._steps, ideal, _LONGEST_CHUNK))

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        pass

    def stop_requested(self) -> bool:
        return self._interrupt is not None and self._interrupt.requested is not None
