"""Join the other processes of a run, and leave them.

JAX finds the others by itself under Slurm, Open MPI and Kubernetes. It answers a coordinator that
is silent, and a process that is lost, by a dump of its stack; here both become one line.
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
LAUNCHED = "LOGVAR_LAUNCHED"
"""Set for the processes that `launching` starts, which speaks for them."""
HEARTBEAT_SECONDS = 30
"""A process that was silent for so long is lost, and so the others end."""
LOST = 3
"""The exit code of a run that lost a process."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the processes of a run find each other; what is None is found by JAX."""

    coordinator_address: str | None = None
    """host:port of the first process."""
    num_processes: int | None = None
    process_id: int | None = None
    seconds: int = 50
    """How long to wait for the coordinator and the other processes."""

    @classmethod
    def from_environment(cls, given: "Cluster") -> "Cluster":
        """Fill in what is not given from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
        JAX_PROCESS_ID.

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
        if number is not None and index is not None and not 0 <= index < number:
            raise LogvarError(
                f"process id is {index} of {number} processes: expected 0 to {number - 1}"
            )
        return cls(address, number, index, given.seconds)


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

    An error inside it ends the process at once: the others wait for it in the next step, and it
    would wait for them at its exit.

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
            local_device_ids=cluster.process_id if launched() else None,
            initialization_timeout=cluster.seconds + 30,  # JAX would end the process by a dump
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise LogvarError(
            f"no other processes were found ({error}): start with srun, mpirun or in Kubernetes, "
            "give --coordinator-address, --num-processes and --process-id, or use --processes N "
            "on one machine"
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
    """Say what ended this process in one line, and end it without waiting for the others."""
    code, line = answer_to(error)
    sys.stdout.flush()
    if line:
        print(f"logvar: {_name()}{line}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(code)


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
    import jax

    text = str(error)
    of_runtime = isinstance(error, jax.errors.JaxRuntimeError | ValueError | RuntimeError)
    return of_runtime and any(
        word in text for word in ("Gloo", "gloo", "NCCL", "Connection", "coordination service")
    )
