"""The progress bar: epoch, ELBO, reconstruction, KL, examples per second and time left."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from logvar.training.loop import summarize
from logvar.training.pace import Pace
from logvar.training.state import TrainState
from logvar.training.watching import EpochMetrics


class ProgressBar(Pace):
    """A `Watcher` that draws a live bar on a terminal, and nothing elsewhere.

    It also forwards each epoch's metrics and records each epoch's seconds for timing.jsonl.
    """

    def __init__(
        self,
        console: Console,
        epochs: int,
        examples: int,
        record: Callable[[EpochMetrics], None],
    ):
        super().__init__()
        self._record = record
        self.epoch_seconds: list[float] = []
        self.trained = False
        """Whether an epoch has been trained, so that an interruption has something to keep."""
        self._examples = examples
        self._epoch_started = time.perf_counter()
        self._validation: dict[str, float] | None = None
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[terms]}"),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=epochs * examples, epoch=1, epochs=epochs, terms="compiling…"
        )

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        self._epoch_started = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def on_chunk(self, epoch: int, done: int, of: int, state: TrainState) -> None:
        super().on_chunk(epoch, done, of, state)
        self.trained = True
        if self._bar.disable:
            return
        shown = self._validation
        if shown is None:
            count = max(float(state.totals.count), 1.0)
            totals = state.totals.terms
            shown = summarize(type(totals)(totals.log_likelihood / count, totals.kl / count))
        self._bar.update(
            self._task,
            completed=int((epoch - 1 + done / of) * self._examples),
            epoch=epoch,
            terms=_describe(shown, held_out=self._validation is not None),
        )

    def on_epoch(self, metrics: EpochMetrics, state: TrainState) -> None:
        now = time.perf_counter()
        self.epoch_seconds.append(now - self._epoch_started)
        self._epoch_started = now
        self._validation = metrics.validation
        self._record(metrics)


def _describe(terms: dict[str, float], *, held_out: bool) -> str:
    where = "held-out" if held_out else "training"
    return (
        f"{where} ELBO {terms['elbo']:.2f} = {terms['reconstruction']:.2f} − {terms['kl']:.2f} KL"
    )


class _Rate(ProgressColumn):
    """Examples per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} examples/s")
