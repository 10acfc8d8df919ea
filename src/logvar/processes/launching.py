"""Start the processes of a run on this machine, and end them together.

Nothing but the standard library is imported: the process that waits needs no memory for JAX. Only
the first process prints; what the others say is shown if one of them ends the run.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from logvar.errors import LogvarError
from logvar.processes.runtime import ADDRESS, INDEX, LAUNCHED, LOST, NUMBER
from logvar.signals import STOPPING
from logvar.storage.files import temporary_file

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 4.0
"""How long the others may take to end by themselves after one has failed."""
_STOPPING_SECONDS = 60.0
"""How long all may take to save and end after Ctrl-C."""


def launch(number: int, arguments: Sequence[str]) -> int:
    """Run this command in so many processes and return the exit code.

    Args:
        number: of processes; at least 2.
        arguments: of the command line, without the program.

    Raises:
        LogvarError: on Windows, where a process hands its children no pipe this way; or there is no
            room for temporary files.
    """
    if sys.platform == "win32":
        raise LogvarError(
            "--processes starts processes as Linux and macOS do, and this is Windows: leave it "
            "out; one process uses all cores"
        )
    came: list[int] = []
    before = {s: signal.signal(s, lambda number, frame: came.append(number)) for s in STOPPING}
    try:
        processes = _Processes(number, arguments)
        try:
            return processes.wait(came)
        finally:
            processes.kill()
    finally:
        for number_, handler in before.items():
            signal.signal(number_, handler)


class _Processes:
    """The processes of a run, the first of which has the terminal."""

    def __init__(self, number: int, arguments: Sequence[str]):
        # The children read from it, and so notice when this process has gone, however it went.
        listened, self._held = os.pipe()
        address = f"127.0.0.1:{_free_port()}"
        shares = _shares_of_cores(number)
        self._errors = [temporary_file("what a process says") for _ in range(number)]
        self._started: list[subprocess.Popen] = []
        self._failed: list[int] = []
        """Those that ended other than well, and by themselves, in that order."""
        for index in range(number):
            first = index == 0
            environment = os.environ | {
                ADDRESS: address, NUMBER: str(number), INDEX: str(index),
                LAUNCHED: f"{listened}:{','.join(map(str, shares[index]))}",
            }  # fmt: skip
            self._started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "logvar", *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=None if first else subprocess.DEVNULL,
                    stderr=None if first else self._errors[index],
                    pass_fds=[listened],
                    start_new_session=True,  # so that Ctrl-C reaches them once, from here
                )
            )
        os.close(listened)

    def wait(self, came: Sequence[int]) -> int:
        """Wait for all and return the exit code; `came` is where signals arrive."""
        forwarded, until = 0, float("inf")
        while self._running():
            if len(came) > forwarded:
                self._send(came[forwarded])
                forwarded += 1
                until = min(until, time.monotonic() + _STOPPING_SECONDS)
            elif self._failed and not came:
                until = min(until, time.monotonic() + _GRACE_SECONDS)
            if time.monotonic() > until:
                self.kill()
                break
            time.sleep(_POLL_SECONDS)
        return self._explained(came)

    def kill(self) -> None:
        """End those that still run. What they have saved is whole, as after a power cut."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _running(self) -> bool:
        codes = [process.poll() for process in self._started]
        new = [i for i, code in enumerate(codes) if code and i not in self._failed]
        self._failed += new
        return None in codes

    def _send(self, number: int) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(number)

    def _explained(self, came: Sequence[int]) -> int:
        """Return the exit code; say why the run ended, unless its first process has."""
        if not self._failed:
            return 128 + came[0] if any(process.returncode for process in self._started) else 0
        # Those that only lost another are not the cause, even if they have ended first.
        effects = LOST, -signal.SIGABRT
        causes = [i for i in self._failed if self._started[i].returncode not in effects]
        cause, first = [*causes, *self._failed][0], self._started[0].returncode
        if came or (0 in self._failed and first > 0 and first != LOST):
            return first if first > 0 else 128 + came[0]  # it has said why
        code, number = self._started[cause].returncode, len(self._started)
        said = self._said(cause)
        if code > 0 and code != LOST and said:
            _say(f"process {cause} of {number}: {said}")
            return int(code)
        _say(
            f"process {cause} of {number} {_how(code)}, so all were stopped; what was saved before "
            "is whole, and the same command with --resume goes on from it"
        )
        return LOST

    def _said(self, index: int) -> str:
        """Return the last line of a process other than the first."""
        self._errors[index].seek(0)
        lines = self._errors[index].read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("logvar: ") if lines else ""


def _how(code: int) -> str:
    """Return how a process ended that has not said why."""
    if code == LOST:
        return "lost the others"
    if code > 0:
        return f"ended with exit code {code} and no message"
    known = -code in set(signal.Signals)  # real-time signals have no names
    return f"was ended by {signal.Signals(-code).name if known else f'signal {-code}'}"


def begin() -> None:
    """In a process that `launch` has started: take its cores, and end when the parent does."""
    pipe, _, cores = os.environ[LAUNCHED].partition(":")
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])

    def watch() -> None:
        os.read(int(pipe), 1)  # returns when the parent has ended, however that was
        os._exit(LOST)

    threading.Thread(target=watch, daemon=True).start()


def _shares_of_cores(number: int) -> list[list[int]]:
    """Return the cores of each process; none if there are too few, so that all share all."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    each = len(cores) // number
    return [cores[i * each : (i + 1) * each] for i in range(number)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _say(line: str) -> None:
    print(f"logvar: {line}", file=sys.stderr, flush=True)  # noqa: T201
