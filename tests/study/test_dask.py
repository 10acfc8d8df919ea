"""Units on a cluster of Dask on this machine, where Dask is installed: `make test-all`."""

import joblib
import pytest

import logvar
from logvar import comparing
from tests.study import untrained
from tests.study.test_workers import DIGITS, FILES, SMALL

distributed = pytest.importorskip("distributed", reason="needs `pip install dask distributed`")
pytestmark = [
    pytest.mark.slow,
    # Of Dask and asyncio, about themselves.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


def test_a_scheduler_that_does_not_answer_is_one_line():
    """The first test here: a client of this process would be used instead."""
    dask = pytest.importorskip("dask")
    silent = {"scheduler-address": "tcp://127.0.0.1:9", "distributed.comm.timeouts.connect": "1s"}
    with (
        dask.config.set(silent),
        pytest.raises(logvar.LogvarError, match=r"scheduler tcp://127\.0\.0\.1:9 does not answer"),
    ):
        logvar.compare(DIGITS, backend="dask", **SMALL)


@pytest.fixture
def cluster():
    """It ends with its test: the others would find its client and bring no cluster of their own."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=40
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


def test_a_cluster_writes_the_bytes_of_one_process(cluster, tmp_path):
    logvar.compare(DIGITS, out=tmp_path / "one", **SMALL)
    with joblib.parallel_config(backend="dask"):
        logvar.compare(DIGITS, out=tmp_path / "two", **SMALL)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )


def test_the_backend_brings_a_cluster_of_its_own_and_lives_through_a_death(tmp_path, monkeypatch):
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(untrained.MARKS, str(tmp_path / "marks"))
    monkeypatch.setattr(comparing, "run_unit", untrained.dying_once)
    result = logvar.compare(DIGITS, out=tmp_path / "out", backend="dask", n_jobs=2, **SMALL)
    assert len(list((tmp_path / "marks").iterdir())) == 1, "one died"
    assert len(result.records) == 16


def test_a_unit_that_its_workers_die_of_is_missing_and_nothing_waits_for_ever(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(comparing, "run_unit", untrained.always_dying)
    with pytest.raises(logvar.LogvarError, match="of 4 units are missing.*0.01"):
        logvar.compare(DIGITS, out=tmp_path / "out", backend="dask", n_jobs=2, **SMALL)
    kept = tmp_path / ".out.unfinished" / "parts"
    assert len(list(kept.glob("*.json"))) >= 2
