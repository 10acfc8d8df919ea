"""Run the units of an experiment in this process, or on workers through joblib.

A unit's results are the same bytes wherever it runs on one machine. So a worker has as many threads
of XLA as the main process, because the order of its sums depends on their number; only logvar's own
threads are divided among the workers (`cores.LIMIT`). JAX's settings are those of the main process.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import itertools
import logging
import os
import tempfile
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import joblib

from logvar.backend.sparse import Rows as SomeRows
from logvar.cores import LIMIT, available_cores
from logvar.errors import LogvarError, unknown_name
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.environment import environment
from logvar.study.experiment import Experiment, Outcome, Rows, Unit, rows_of, run_unit

BACKENDS = ("loky", "dask", "ray")
_NEEDED = {"dask": ("distributed", "dask distributed"), "ray": ("ray", "ray")}
_DEATHS = (
    "UnitLost",
    "BrokenProcessPool",
    "KilledWorker",
    "FutureCancelledError",
    "RayActorError",
    "WorkerCrashedError",
)
"""How joblib, Dask and Ray name the death of a worker. Dask and Ray need not be installed."""
_CACHE = "jax_compilation_cache_dir"
_SETTINGS = (
    "jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl",
    "jax_threefry_partitionable", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion",
    "jax_disable_most_optimizations", "jax_persistent_cache_min_compile_time_secs",
)  # fmt: skip
"""JAX's settings that a program's results depend on, and how it is kept on disk."""


class UnitLost(RuntimeError):
    """The worker of a unit died."""


Tell = Callable[[Unit, int, int], None]


@dataclasses.dataclass(frozen=True)
class Work:
    """The data and settings that all units share."""

    experiment: Experiment
    X: SomeRows
    test: SomeRows | None
    run: Callable[..., Outcome] = run_unit

    def rows(self, split: int) -> Rows:
        return rows_of(self.experiment, self.X, self.test, split)


class Telling:
    """Reports the epochs of a unit in this process; a copy in another process is silent."""

    def __init__(self, tell: Tell | None = None):
        self._tell = tell

    def __call__(self, unit: Unit, epoch: int, training: int) -> None:
        if self._tell is not None:
            self._tell(unit, epoch, training)

    def __reduce__(self) -> Any:
        return Telling, ()


def check_workers(n_jobs: int | None, backend: str | None) -> None:
    """Raise a LogvarError if there is no such backend, or what it needs is not installed."""
    if n_jobs == 0:
        raise LogvarError("n_jobs is 0: expected how many units to run at a time, or -1 for all")
    if backend is None:
        return
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    module, packages = _NEEDED.get(backend, ("joblib", ""))
    if importlib.util.find_spec(module) is None:
        raise LogvarError(
            f"--backend {backend} needs `pip install {packages}`; --backend loky needs nothing more"
        )


@contextlib.contextmanager
def workers(n_jobs: int | None, backend: str | None) -> Iterator[None]:
    """Configure joblib for these arguments; without any, the caller's configuration holds.

    Args:
        n_jobs: how many units at a time; negative numbers count back from all cores, as in
            scikit-learn. Dask uses all workers of its cluster.
        backend: one of `BACKENDS`, or None for the caller's, which is loky unless set.
    """
    check_workers(n_jobs, backend)
    with contextlib.ExitStack() as stack:
        if backend == "dask":
            stack.enter_context(_dask_client(n_jobs))
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        if backend is not None:
            jobs = -1 if n_jobs is None else n_jobs
            stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=jobs))
        elif n_jobs is not None:
            stack.enter_context(joblib.parallel_config(n_jobs=n_jobs))
        yield


@contextlib.contextmanager
def _dask_client(n_jobs: int | None) -> Iterator[None]:
    """The caller's client; or one of DASK_SCHEDULER_ADDRESS; or one of a cluster on this machine,
    which ends with the comparison."""
    import dask
    import distributed

    try:
        distributed.get_client()
    except ValueError:
        pass  # how Dask says that there is none
    else:
        yield
        return
    if address := dask.config.get("scheduler-address", None):
        try:
            client = distributed.Client(address)
        except (OSError, ValueError) as error:
            raise LogvarError(
                f"the Dask scheduler {address} does not answer ({error}): start it, correct "
                "DASK_SCHEDULER_ADDRESS, or unset it for a cluster on this machine"
            ) from error
        with client:
            yield
        return
    jobs = available_cores() if n_jobs is None or n_jobs < 0 else n_jobs
    with (
        distributed.LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield


def run_units(
    work: Work,
    units: Sequence[Unit],
    done: Callable[[Unit, Outcome, dict[str, str]], None],
    tell: Tell | None = None,
) -> dict[str, str]:
    """Run units by joblib's configuration.

    If a worker dies, the units on their way then, among which is the one that it died of, run
    again after the others, one at a time. One whose worker dies again is lost.

    Args:
        work: what all units need.
        units: what to run.
        done: called in this thread with each result, as soon as it is there, and the environment
            it was computed in.
        tell: called with the epochs of units that run in this process.

    Returns:
        The units that were lost, by name, with the last words of the backend.
    """
    waiting, again = deque(units), deque[Unit]()
    enough = min(joblib.effective_n_jobs(None), 2)
    while waiting:
        sent: dict[str, Unit] = {}
        if again:
            _wait_for_workers(enough)
        _run_until_a_death(work, waiting, sent, done, Telling(tell))
        again += sent.values()
    lost = {}
    for unit in again:
        _wait_for_workers(enough)
        words = _run_until_a_death(work, deque([unit]), {}, done, Telling(tell), elsewhere=True)
        if words:
            lost[unit.name] = words
    return lost


def _run_until_a_death(
    work: Work,
    waiting: deque[Unit],
    sent: dict[str, Unit],
    done: Callable[[Unit, Outcome, dict[str, str]], None],
    telling: Telling,
    elsewhere: bool = False,
) -> str:
    """Run the waiting units; after the death of a worker, `sent` has those without a result.

    Args:
        elsewhere: a unit that may be deadly is not to run in this process.

    Returns:
        How the backend reported the death, or an empty text.
    """

    def tasks() -> Iterator[Any]:
        while waiting:  # joblib asks for tasks from several threads, one at a time
            unit = waiting.popleft()
            sent[unit.name] = unit
            yield joblib.delayed(_task)(
                work.experiment, work.X, work.test, work.run, unit, settings, telling
            )

    settings = _settings() | {"elsewhere": elsewhere}
    results = _results(tasks(), len(waiting))
    try:
        for unit, outcome, where in results:
            del sent[unit.name]
            done(unit, outcome, where)
    except Exception as error:
        if not _of_a_death(error):
            raise
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib says that units were not finished
            results.close()
        for mark in Path(tempfile.gettempdir()).glob(f"logvar-{settings['attempt']}-*"):
            mark.unlink(missing_ok=True)  # of the dead, on this machine
    return ""


def _wait_for_workers(enough: int, seconds: float = 60.0) -> None:
    """Wait until a cluster has replaced its dead: with one worker joblib runs units itself."""
    until = time.monotonic() + seconds
    while joblib.effective_n_jobs(None) < enough and time.monotonic() < until:
        time.sleep(0.2)


def _of_a_death(error: Exception) -> bool:
    return any(kind.__name__ in _DEATHS for kind in type(error).__mro__)


def _results(tasks: Iterator[Any], count: int) -> Any:
    """Yield results as they come."""
    settings: Any = {"batch_size": 1, "pre_dispatch": "n_jobs"}
    try:
        parallel = joblib.Parallel(return_as="generator_unordered", **settings)
    except ValueError:  # a pool, such as Ray's, gives results only when all of a call are there
        parallel = joblib.Parallel(**settings)
        at_once = max(joblib.effective_n_jobs(None), 1)
        for _ in range(0, count, at_once):
            yield from parallel(itertools.islice(tasks, at_once))
    else:
        yield from parallel(tasks)


def _settings() -> dict[str, Any]:
    """Return what a worker needs to compute as this process does."""
    names = (*_SETTINGS, _CACHE)
    found = {name: getattr(jax.config, name) for name in names if hasattr(jax.config, name)}
    share = max(1, available_cores() // max(joblib.effective_n_jobs(None), 1))
    return found | {LIMIT: str(share), "process": os.getpid(), "attempt": uuid.uuid4().hex}


def _task(
    experiment: Experiment,
    X: SomeRows,
    test: SomeRows | None,
    run: Callable[..., Outcome],
    unit: Unit,
    settings: dict[str, Any],
    telling: Telling,
) -> tuple[Unit, Outcome, dict[str, str]]:
    """Run one unit where joblib has sent it."""
    if settings["process"] == os.getpid():
        if settings["elsewhere"]:
            raise UnitLost("its worker died, and no other is left to run it")
        return unit, _outcome(experiment, X, test, run, unit, telling), environment()
    _compute_as(settings)
    with _started_once(f"{settings['attempt']}-{hashlib.sha256(unit.name.encode()).hexdigest()}"):
        return unit, _outcome(experiment, X, test, run, unit, telling), environment()


def _outcome(
    experiment: Experiment,
    X: SomeRows,
    test: SomeRows | None,
    run: Callable[..., Outcome],
    unit: Unit,
    telling: Telling,
) -> Outcome:
    rows = Work(experiment, X, test).rows(unit.split)

    def on_epoch(epoch: int, training: int) -> None:
        telling(unit, epoch, training)

    return run(experiment, rows, unit, on_epoch)


@contextlib.contextmanager
def _started_once(name: str) -> Iterator[None]:
    """Raise `UnitLost` if this began before on this machine, and did not end.

    Dask itself starts a task again whose worker died, three times, and then gives up in a way that
    joblib does not notice: it would wait for ever.

    Raises:
        LogvarError: the folder of temporary files takes no more.
    """
    mark = Path(tempfile.gettempdir()) / f"logvar-{name}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError as error:
        mark.unlink(missing_ok=True)
        raise UnitLost("its worker died") from error
    except OSError as error:
        raise LogvarError(
            f"a worker cannot mark its unit as begun in {mark.parent} "
            f"({error.strerror or error}): set TMPDIR to a folder with room"
        ) from error
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _compute_as(settings: dict[str, Any]) -> None:
    """Take the settings of the main process; they stay until the next unit brings its own."""
    os.environ.setdefault(LIMIT, settings[LIMIT])
    for name in _SETTINGS:
        if name in settings and getattr(jax.config, name, None) != settings[name]:
            jax.config.update(name, settings[name])
    folder = settings.get(_CACHE)
    if folder and Path(folder).is_dir():  # on another machine there may be no such folder
        jax.config.update(_CACHE, folder)
    else:
        keep_compiled_programs()
