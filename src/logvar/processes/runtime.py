"""Join the other processes of a run, and leave them.

JAX finds the others by itself under Slurm and Open MPI 4. It answers a silent coordinator with
a dump of its stack, which here becomes one line; so does a lost process, unless JAX's own thread is
the first to notice.
"""

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from logvar.errors import LogvarError

ADDRESS, NUMBER, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_DEVICES = "JAX_LOCAL_DEVICE_IDS"
BY_MPI = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
)
"""What Open MPI, or MPICH and its relatives, tell each process: of how many, which it is, and which
on its machine."""
BY_KUBERNETES = "JOB_COMPLETION_INDEX"
"""The variable in which Kubernetes tells each process of an indexed job which one it is."""
LAUNCHED = "LOGVAR_LAUNCHED"
"""Set for the processes that `launching` starts, which speaks for them."""
HEARTBEAT_SECONDS = 30
"""A process that was silent for so long is lost, and so the others end."""
LOST = 3
"""The exit code of a run that lost a process."""
LOSSES = (RuntimeError, ValueError)
"""The errors of JAX if another process has gone; its own JaxRuntimeError is a RuntimeError."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the processes of a run find each other; what is None is found by JAX."""

    coordinator_address: str | None = None
    """host:port of the first process."""
    num_processes: int | None = None
    process_id: int | None = None
    local_id: int | None = None
    """The process's number on its machine, if it is to take the one GPU of that number."""
    seconds: int = 50
    """How long to wait for the coordinator and the other processes."""

    @classmethod
    def from_environment(cls, given: "Cluster") -> "Cluster":
        """Fill in what is not given from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
        JAX_PROCESS_ID, and with an address the numbers from what MPI or Kubernetes say.

        Without an address all is left to JAX, which finds everything under Slurm and Open MPI 4.

        Raises:
            LogvarError: a number is not one.
        """
        address = given.coordinator_address or os.environ.get(ADDRESS)
        if address is not None and not address.rpartition(":")[2].isdigit():
            raise LogvarError(
                f"coordinator address is {address!r}: expected host:port, such as node1:5123"
            )
        number = _number(NUMBER) if given.num_processes is None else given.num_processes
        index = _number(INDEX) if given.process_id is None else given.process_id
        local_id = index if launched() else None
        if address is not None and (number, index) == (None, None):
            for names in BY_MPI:
                if names[0] in os.environ:
                    number, index, local_id = map(_number, names)
                    break
        if address is not None and number is not None and index is None:
            index = _number(BY_KUBERNETES)
        if number is not None and index is not None and not 0 <= index < number:
            raise LogvarError(
                f"process id is {index} of {number} processes: expected 0 to {number - 1}"
            )
        return cls(address, number, index, local_id, given.seconds)


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise LogvarError(f"{name} is {text!r}: expected a number")
    return int(text)


def compute_as_two() -> None:
    """Let the CPU of this process be two devices, before anything is computed on it.

    XLA compiles programs of one device by other rules than those of several, and they round
    differently; two devices in one process end in the bytes of two processes.
    """
    import jax

    jax.config.update("jax_num_cpu_devices", 2)


def launched() -> bool:
    """Return whether another process of logvar started this one and speaks for it."""
    return LAUNCHED in os.environ


@contextlib.contextmanager
def joined(given: Cluster) -> Iterator[None]:
    """Within this context, this process is one of several.

    An error inside it ends the process: the others wait for it in the next step, and it would wait
    for them at its exit.

    Raises:
        LogvarError: no other processes are found, or they do not answer.
    """
    cluster = Cluster.from_environment(given)
    _join(cluster)
    try:
        yield
    except BaseException as error:  # noqa: BLE001 (every end of this process is told)
        _leave(error)
    stop()


def stop() -> None:
    """Leave the other processes once all have come so far; what follows is of this one alone."""
    import jax

    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def _join(cluster: Cluster) -> None:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    answered = threading.Event()
    where = cluster.coordinator_address or "the coordinator that the launcher names"
    silent = (
        f"logvar: {where} did not answer within {cluster.seconds} s: start all "
        f"{cluster.num_processes or ''} processes".replace("  ", " ")
        + " together, and let them reach that port of the first one's host"
    )

    def watch() -> None:
        if not answered.wait(cluster.seconds):
            print(silent, file=sys.stderr, flush=True)  # noqa: T201
            os._exit(2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        jax.distributed.initialize(
            cluster.coordinator_address,
            cluster.num_processes,
            cluster.process_id,
            # One GPU for each process of this machine; a CPU is not affected.
            local_device_ids=None if _DEVICES in os.environ else cluster.local_id,
            # In a pod, JAX would look for a package and for the cluster's API.
            cluster_detection_method="deactivate" if BY_KUBERNETES in os.environ else None,
            initialization_timeout=cluster.seconds + 30,  # JAX would end the process by a dump
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise LogvarError(
            f"no other processes were found ({str(error).strip('. ')}): start with srun or mpirun; "
            "under MPICH or Open MPI 5 give --coordinator-address HOST:PORT too; elsewhere "
            "--num-processes and --process-id as well; on one machine use --processes N"
        ) from error
    except RuntimeError as error:
        raise LogvarError(
            f"the coordinator {where} cannot be reached: {' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        answered.set()
    with _without_output():
        from logvar.processes.placement import Placement

        Placement.of(jax.devices()).told([0])  # Gloo connects, and prints that it has


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Drop what libraries print past Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for number in (*kept, nothing):
            os.close(number)


def _leave(error: BaseException) -> NoReturn:
    """Say what ended this process in one line, and end it, with the others if they can be told."""
    code, line = answer_to(error)
    sys.stdout.flush()
    if line:
        print(f"logvar: {_name()}{line}", file=sys.stderr, flush=True)  # noqa: T201
    if isinstance(error, Exception) and not is_loss(error):
        _leave_with_others()
    os._exit(code)


def _leave_with_others() -> None:
    """If the others learn that this process ends, let all end together."""
    import jax

    from logvar.processes.ending import let_others_know
    from logvar.processes.placement import Placement, several

    with contextlib.suppress(*LOSSES):  # another has been lost, and nobody is left to wait for
        if several() and let_others_know(Placement.of(jax.devices())):
            stop()


def _name() -> str:
    """Return which process speaks; the one that is started together with its parent is alone."""
    import jax

    if launched():
        return ""
    return f"process {jax.process_index()} of {jax.process_count()}: "


def answer_to(error: BaseException) -> tuple[int, str]:
    """Return the exit code for an error, and the line about it if there is one."""
    if isinstance(error, SystemExit):
        code = error.code
        return (code, "") if isinstance(code, int) else (0 if code is None else 2, str(code or ""))
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    from logvar.processes.ending import EndedElsewhere

    if isinstance(error, EndedElsewhere) and launched():
        return LOST, ""  # the process that started this one has seen which failed
    if isinstance(error, LogvarError):
        return 2, " ".join(str(error).split())
    if is_loss(error):
        # The process that started this one has seen which was lost.
        lost = "lost the connection to the other processes; what was saved before is whole, and "
        return LOST, "" if launched() else f"{lost}the same command with --resume goes on from it"
    import traceback

    traceback.print_exception(error)
    return 1, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def is_loss(error: BaseException) -> bool:
    """Return whether an error of JAX says that another process has gone."""
    text = str(error)
    return isinstance(error, LOSSES) and any(
        word in text for word in ("Gloo", "gloo", "NCCL", "Connection", "coordination service")
    )
