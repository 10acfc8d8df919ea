"""`logvar compare`: the experiment from the command line, with a progress bar."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from logvar.cli.console import console, say
from logvar.cli.fitting import overrides_of
from logvar.comparing import REPORT, VERDICTS, Comparison
from logvar.comparing import compare as compare_scales
from logvar.data import sources
from logvar.data.annotated import is_annotated
from logvar.data.table.choices import Choices
from logvar.errors import LogvarError
from logvar.storage.compiled import keep_compiled_programs
from logvar.study.experiment import Unit


def compare(
    data: str,
    data_dir: str | None,
    out: Path,
    overwrite: bool,
    settings: dict[str, Any],
    images: dict[str, str],
    choices: Choices,
) -> None:
    """Compare scales on a data set and print the verdicts."""
    keep_compiled_programs()
    if (out / VERDICTS).is_file() and not overwrite:
        raise LogvarError(
            f"{out} already holds a comparison: give --overwrite to replace it, or another --out"
        )
    dataset = sources.load(data, data_dir, **images, choices=choices)
    for note in dataset.notes:
        say(note)
    overrides = overrides_of(choices, dataset)
    if overrides:
        settings["schema"] = overrides
    if is_annotated(dataset.train):
        settings |= {"condition": choices.conditions or None, "layer": images["layer"]}
    with _Bar() as bar:
        result = compare_scales(
            dataset.train, test_data=dataset.test, out=out, overwrite=overwrite, name=data,
            progress=bar.on_unit, **settings,
        )  # fmt: skip
    _print(result)
    say(f"report  {out / REPORT}")


def _print(result: Comparison) -> None:
    for line in [*result.conclusions, *(f"note: {note}" for note in result.notes)]:
        say(f"{line}.")
    failed = int(np.sum([line["diverged"] for line in result.records]))
    say(f"{len(result.records)} models, {failed} diverged")


class _Bar:
    """A live bar on a terminal: the scale in training, its epoch, and how many runs still train."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} models"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("compiling…", total=None)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def on_unit(self, unit: Unit, epoch: int, training: int, runs: int) -> None:
        """Show the progress of a unit; epoch 0 means that it is done."""
        if epoch == 0:
            self._bar.update(self._task, total=runs, advance=len(unit.seeds))
            return
        what = f"{unit.scale} {unit.arm} {unit.rate:g}"
        text = f"{what}, epoch {epoch}, {training} of {len(unit.seeds)} still training"
        self._bar.update(self._task, total=runs, description=text)
