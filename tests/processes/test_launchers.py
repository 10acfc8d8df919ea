"""What each launcher tells a process, and how all processes of a run learn that one has failed."""

import io
import signal
import tempfile
import threading
import types

import numpy as np
import pytest

from logvar.data.streams.scratch import Scratch
from logvar.errors import LogvarError
from logvar.processes import ending, launching
from logvar.processes.ending import WIDTH, EndedElsewhere, exchanged, let_others_know
from logvar.processes.placement import Placement
from logvar.processes.runtime import LAUNCHED, LOST, Cluster, answer_to
from logvar.signals import STOPPING
from logvar.training.state import TrainState
from logvar.training.watching import Together

AT = "node1:5123"
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}  # fmt: skip
MPICH = {"PMI_SIZE": "4", "PMI_RANK": "3", "MPI_LOCALRANKID": "1"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
INDEXED = {"JOB_COMPLETION_INDEX": "3", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
JAX = {"JAX_COORDINATOR_ADDRESS": AT, "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    for name in (*OPEN_MPI, *MPICH, *SLURM, *INDEXED, *JAX, LAUNCHED):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("told", "given", "expected"),
    [
        (JAX, Cluster(), Cluster(AT, 4, 3)),
        (JAX | {LAUNCHED: "5:0"}, Cluster(), Cluster(AT, 4, 3, local_id=3)),
        (OPEN_MPI, Cluster(AT), Cluster(AT, 4, 3, local_id=1)),
        (MPICH, Cluster(AT), Cluster(AT, 4, 3, local_id=1)),
        (INDEXED, Cluster(AT, 4), Cluster(AT, 4, 3)),
        (MPICH | OPEN_MPI, Cluster(AT, 2, 0), Cluster(AT, 2, 0)),  # what is given comes first
        (OPEN_MPI | SLURM, Cluster(), Cluster()),  # JAX finds these and an address
    ],
)
def test_a_process_finds_its_number(told, given, expected, monkeypatch):
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    assert Cluster.from_environment(given) == expected


def test_a_number_that_is_none_is_refused(monkeypatch):
    for name, text in (MPICH | {"PMI_RANK": "first"}).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(LogvarError, match="PMI_RANK is 'first': expected a number"):
        Cluster.from_environment(Cluster(AT))


class Two(Placement):
    """A placement of two processes; the other tells what it is given here."""

    def __init__(self, *other):
        object.__setattr__(self, "other", [*other, *[0] * (WIDTH - len(other))])
        object.__setattr__(self, "mine", [])

    def told(self, numbers):
        self.mine.append(list(numbers))
        return np.asarray([numbers, self.other])


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(ending._Run, "starting", True)
    monkeypatch.setattr(ending._Run, "known", False)
    return ending._Run


def test_processes_exchange_numbers_until_one_fails(run):
    assert exchanged(Two(0, 8, 9), [6, 7]).tolist() == [[6, 7], [8, 9]]
    assert not run.known
    with pytest.raises(EndedElsewhere, match="process 1 of 2 cannot go on, and says why"):
        exchanged(Two(1), [6, 7])
    assert run.known


def test_one_that_fails_tells_it_as_long_as_the_others_listen(run):
    two = Two(0, 8, 9)
    assert let_others_know(two)
    assert two.mine == [[1, *[0] * (WIDTH - 1)]]  # of the shape that the others send
    run.known = False
    ending.begin_training(Two())
    assert not let_others_know(two)


@pytest.mark.parametrize(
    ("error", "dropped"),
    [(RuntimeError("Gloo"), True), (ValueError("Connection"), True), (TypeError("a fault"), False)],
)
def test_only_the_loss_of_another_is_no_news(run, monkeypatch, error, dropped):
    class Lost(Two):
        def told(self, numbers):
            raise error

    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda found: seen.append(found.exc_value))
    assert not let_others_know(Lost())
    assert seen == ([] if dropped else [error])


def test_no_room_for_what_they_say_is_one_line(monkeypatch):
    def full(*args, **settings):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    handlers = [signal.getsignal(s) for s in STOPPING]
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(
        LogvarError, match="No usable temporary directory .* set TMPDIR to a folder"
    ):
        launching.launch(2, ["fit", "digits"])
    assert [signal.getsignal(s) for s in STOPPING] == handlers  # Ctrl-C works as before
    with pytest.raises(LogvarError, match="the cells of rows"):
        Scratch("rows", (2, 1), np.dtype(float))


@pytest.mark.parametrize(
    ("code", "said", "returned", "line"),
    [
        (1, b"", LOST, "process 1 of 2 ended with exit code 1 and no message, so all were stopped"),
        (1, b"logvar: no such file\n", 1, "process 1 of 2: no such file"),
        (-9, b"", LOST, "process 1 of 2 was ended by SIGKILL, so all were stopped"),
        (-40, b"", LOST, "process 1 of 2 was ended by signal 40, so all were stopped"),
        (LOST, b"", LOST, "process 1 of 2 lost the others, so all were stopped"),
    ],
)
def test_how_one_of_them_ended_is_said(code, said, returned, line, capsys):
    ended = object.__new__(launching._Processes)
    ended._started = [types.SimpleNamespace(returncode=c) for c in (LOST, code)]
    ended._errors = [io.BytesIO(), io.BytesIO(said)]
    ended._failed = [1, 0]
    assert ended._explained([]) == returned
    assert capsys.readouterr().err.startswith(f"logvar: {line}")


def test_only_the_cause_is_said_on_one_machine(monkeypatch):
    assert answer_to(EndedElsewhere("process 1 of 2 cannot go on"))[0] == 2
    monkeypatch.setenv(LAUNCHED, "5:0")
    assert answer_to(EndedElsewhere("process 1 of 2 cannot go on")) == (LOST, "")


class Failing:
    """A watcher whose disk is full."""

    def chunk_steps(self):
        return 5

    def stop_requested(self):
        return False

    def on_chunk(self, epoch, done, of, state):
        raise LogvarError("cannot write there")

    on_epoch = on_chunk


def test_a_watcher_that_fails_ends_all_at_the_next_question(run):
    state = object.__new__(TrainState)  # nothing of it is read
    two = Two(0, 0, 3)
    watcher = Together(Failing(), two)
    watcher.on_chunk(1, 2, 3, state)  # the others are in the next step already
    with pytest.raises(LogvarError, match="cannot write there"):
        watcher.stop_requested()
    assert two.mine[-1][0] == 1 and run.known
    with pytest.raises(EndedElsewhere, match="process 1 of 2"):
        Together(Failing(), Two(1, 0, 5)).stop_requested()
