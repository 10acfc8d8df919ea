"""Stand-ins for a unit's run: what it might have shown, without training it, and some that die."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from logvar.study.experiment import Outcome
from logvar.study.measuring import Measured
from logvar.training.fleet.train import QUANTILES

MARKS = "LOGVAR_TEST_MARKS"
"""The folder where stand-ins leave marks for later calls, in other processes too."""


def untrained(experiment, rows, unit, on_epoch):
    on_epoch(1, 2)
    figures = dict.fromkeys(Measured._fields, 1.0)
    runs = [
        {"scale": unit.scale, "arm": unit.arm, "optimizer": "adam", "learning_rate": unit.rate,
         "seed": seed, "split": 0, "diverged": False, "diverged_at_step": 0, "ended": "finished",
         "epochs": 1, "best_epoch": 1, "validation_elbo": -1.0} | figures
        for seed in unit.seeds
    ]  # fmt: skip
    curve = [
        {f"raw_{q:g}": 0.0 for q in QUANTILES} | {"epoch": 1, "validation_elbo": -1.0} | run
        for run in runs
    ]
    return Outcome(runs, np.ones((len(runs), len(rows.test))), curve, 0.5)


def _marked(unit):
    """Whether this was called for the unit before."""
    mark = Path(os.environ[MARKS]) / unit.name.replace(" ", "_")
    before = mark.exists()
    mark.touch()
    return before


def dying_once(experiment, rows, unit, on_epoch):
    """The worker dies of the second unit, the first time."""
    if unit.scale == "log-variance" and unit.rate == 1e-2 and not _marked(unit):
        os.kill(os.getpid(), signal.SIGKILL)
    return untrained(experiment, rows, unit, on_epoch)


def always_dying(experiment, rows, unit, on_epoch):
    """Whichever worker has the second unit dies of it."""
    if unit.scale == "log-variance" and unit.rate == 1e-2:
        os.kill(os.getpid(), signal.SIGKILL)
    return untrained(experiment, rows, unit, on_epoch)


def settings_of_the_worker(experiment, rows, unit, on_epoch):
    """Says in a file which settings it was given, and fails if it is no worker."""
    import jax

    from logvar.cores import cores

    found = (cores(), jax.config.jax_compilation_cache_dir, jax.config.jax_numpy_dtype_promotion)
    assert not isinstance(rows.train, np.memmap)  # its copy is its own
    (Path(os.environ[MARKS]) / f"{os.getpid()}-{unit.number}-{unit.rate}").write_text(repr(found))
    return untrained(experiment, rows, unit, on_epoch)


def failing(experiment, rows, unit, on_epoch):
    raise ZeroDivisionError(f"in {unit.name}")


def slow(experiment, rows, unit, on_epoch):
    """Long enough to be interrupted; the mark is of the process that runs it."""
    (Path(os.environ[MARKS]) / str(os.getpid())).touch()
    time.sleep(60)
    return untrained(experiment, rows, unit, on_epoch)
