"""Units on workers: the bytes of one process, deaths, Ctrl-C, and what is refused."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import joblib
import numpy as np
import pytest

import logvar
from logvar import comparing
from logvar.cores import LIMIT, cores
from logvar.data.sources import load
from logvar.study import workers
from tests.cases import slow
from tests.study import untrained

ROOT = Path(__file__).parent.parent.parent
DIGITS = load("digits").train[:240]
SMALL = {
    "scales": ["log-variance", "log-std"], "learning_rates": [1e-3, 1e-2], "seeds": 4, "arms": ["as is"],
    "latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 2, "batch_size": 40, "importance_samples": 3,
}  # fmt: skip
FILES = ("runs.csv", "curves.csv", "verdicts.json")


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Use a function instead of a unit's training."""
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(untrained.MARKS, str(tmp_path / "marks"))

    def use(name):
        monkeypatch.setattr(comparing, "run_unit", getattr(untrained, name))
        return tmp_path / "marks"

    _end_workers()  # those of an earlier test have its environment
    yield use
    _end_workers()


def _end_workers():
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


def test_workers_write_the_bytes_of_one_process(tmp_path):
    # More shares than a worker has cores: they are part of the plan and not of the place.
    logvar.compare(DIGITS, out=tmp_path / "one", **SMALL)
    logvar.compare(DIGITS, out=tmp_path / "two", n_jobs=2, **SMALL)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )


def test_a_fleet_has_the_same_shares_on_any_number_of_cores(monkeypatch):
    from logvar.recipe import Recipe
    from logvar.study.experiment import Experiment, units
    from logvar.training.fleet import train

    planned = Experiment(
        ("log-variance", "log-std"), (1e-3,), 4, ("as is",), 0.2, 0.95, 1, 0.2, 0.1, 3,
        Recipe().replace(network="mlp(hidden=[8])", latent_dim=2, epochs=1),
    )  # fmt: skip
    monkeypatch.setattr(train, "cores", lambda: 2)
    unit = next(units(planned, DIGITS, None))
    assert unit.shares == 2
    rows = workers.Work(planned, DIGITS, None).rows(0)
    elbos = []
    for available in (2, 1):
        monkeypatch.setattr(train, "cores", lambda available=available: available)
        elbos.append(comparing.run_unit(planned, rows, unit).row_elbos)
    np.testing.assert_array_equal(*elbos)


def test_a_worker_that_dies_once_costs_nothing(stand_in, tmp_path):
    marks = stand_in("dying_once")
    done = []
    result = logvar.compare(
        DIGITS, out=tmp_path / "out", n_jobs=2, **SMALL,
        progress=lambda unit, epoch, *rest: done.append(unit.name),
    )  # fmt: skip
    assert len(list(marks.iterdir())) == 1, "one died"
    assert len(result.records) == 16 and sorted(done) == sorted(set(done)) and len(done) == 4
    scales = [(line["scale"], line["learning_rate"]) for line in result.records[::4]]
    assert scales == [("log-variance", 1e-3), ("log-variance", 1e-2), ("log-std", 1e-3), ("log-std", 1e-2)]  # fmt: skip


def test_a_unit_that_its_workers_die_of_is_missing_and_the_rest_is_done(
    stand_in, tmp_path, capfd, monkeypatch
):
    stand_in("always_dying")
    before = _marks()
    name = "0-log-variance-as is-0.01-0"
    with pytest.raises(logvar.LogvarError, match=f"1 of 4 units are missing.*{name}.*same command"):
        logvar.compare(DIGITS, out=tmp_path / "out", n_jobs=2, **SMALL)
    assert not (tmp_path / "out").exists()
    kept = tmp_path / ".out.unfinished" / "parts"
    assert len(list(kept.glob("*.json"))) == 3 and not list(kept.glob("*log-variance*0.01*"))
    assert "Traceback" not in capfd.readouterr().err
    # The same call again, when the cause has gone: only that unit runs.
    ran = []

    def noted(experiment, rows, unit, on_epoch):
        ran.append(unit.name)
        return untrained.untrained(experiment, rows, unit, on_epoch)

    monkeypatch.setattr(comparing, "run_unit", noted)
    result = logvar.compare(DIGITS, out=tmp_path / "out", **SMALL)
    assert ran == [name] and len(result.records) == 16
    assert _marks() <= before, "no mark of the dead is left"


def test_a_worker_has_its_share_of_cores_and_the_settings_of_the_main_process(stand_in):
    marks = stand_in("settings_of_the_worker")
    with joblib.parallel_config(backend="loky", n_jobs=2):  # the caller's
        logvar.compare(DIGITS, **SMALL)
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    expected = (share, jax.config.jax_compilation_cache_dir, jax.config.jax_numpy_dtype_promotion)
    assert {mark.read_text() for mark in marks.iterdir()} == {repr(expected)}
    assert str(os.getpid()) not in {mark.name.split("-")[0] for mark in marks.iterdir()}


def test_an_error_of_a_unit_is_raised_and_no_loss(stand_in):
    stand_in("failing")
    with pytest.raises(ZeroDivisionError, match="in 0-log-variance"):
        logvar.compare(DIGITS, n_jobs=2, **SMALL)


@pytest.mark.parametrize(("jobs", "expected"), [(1, {0, 1}), slow(2, {0})])
def test_epochs_are_told_in_this_process_alone(stand_in, jobs, expected):
    stand_in("untrained")
    told = []
    logvar.compare(DIGITS, n_jobs=jobs, progress=lambda *given: told.append(given), **SMALL)
    assert {epoch for _, epoch, _, _ in told} == expected


SCRIPT = """
import logvar, sys
from logvar import comparing
from logvar.cli import main
from tests.study import test_workers, untrained
comparing.run_unit = untrained.slow
sys.argv = ["logvar", "compare", "rows.npy", "--jobs", "2", "--seeds", "2", "--latent-dim", "2",
            "--network", "mlp(hidden=[8])", "--epochs", "2", "--out", "out"]
main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, slow(signal.SIGTERM)])  # fmt: skip
def test_ctrl_c_ends_the_workers_too_in_one_line(tmp_path, number):
    (tmp_path / "marks").mkdir()
    np.save(tmp_path / "rows.npy", DIGITS[:, :, :, 0].reshape(len(DIGITS), -1))
    environment = os.environ | {untrained.MARKS: str(tmp_path / "marks"), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while len(list((tmp_path / "marks").iterdir())) < 2 and time.monotonic() < until:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number, errors
    assert errors.splitlines() in (["logvar: interrupted"], []), errors
    workers_left = [mark.name for mark in (tmp_path / "marks").iterdir() if _alive(int(mark.name))]
    assert not workers_left
    assert not (tmp_path / "out").exists()


def _marks():
    """Marks of units that were begun on this machine."""
    return set(Path(tempfile.gettempdir()).glob(f"logvar-{'[0-9a-f]' * 32}-*"))


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "lokey"}, "unknown backend 'lokey': did you mean 'loky'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"backend": "dask"}, "--backend dask needs `pip install dask distributed`"),
        ({"backend": "ray"}, "--backend ray needs `pip install ray`"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, arguments, message
):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(logvar.LogvarError, match=message):
        logvar.compare(DIGITS, out=tmp_path / "out", **arguments, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_on_cores(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr("logvar.cores.available_cores", lambda: 4)
    for limit, expected in (("", 4), ("3", 3), ("9", 4)):
        monkeypatch.setenv(LIMIT, limit)
        assert cores() == expected
    monkeypatch.setenv(LIMIT, "few")
    with pytest.raises(logvar.LogvarError, match="LOGVAR_CORES is 'few': expected a number"):
        cores()


def test_no_room_for_the_mark_of_a_unit_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        pytest.raises(logvar.LogvarError, match="cannot mark its unit .* set TMPDIR"),
        workers._started_once("unit"),
    ):
        pass
