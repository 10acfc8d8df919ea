"""Handling of SIGINT and SIGTERM: stop when asked, delay briefly, or exit while a library is busy.

Python runs a signal's handler between two of its own instructions, so a signal that arrives while
a library compiles waits until that call returns. `leaving_unheard` covers this case.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)
_heard = threading.Event()


@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
def _notice(_: int | None) -> int:
    """Called by the interpreter in the main thread, between two instructions."""
    _heard.set()
    return 0


class Interrupt:
    """Within this context the first SIGINT or SIGTERM requests a stop; a second one kills at once.

    Signals can only be caught in the main thread; in other threads they are not handled.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __exit__(self, *exception: object) -> None:
        self._restore()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Delay SIGINT and SIGTERM while a few renames must stay together on disk.

    Handlers are replaced, not masked: a mask holds for one thread only. A library's threads would
    still get the signal, and Python would then run the handler in the main thread anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in STOPPING
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Within this context SIGINT and SIGTERM raise, so that writers can clean up.

    An exception inside a callback of the garbage collector is lost: the interpreter reports it as
    ignored and continues. JAX has such a callback, imports have others, and one Ctrl-C in six was
    lost while a command started. Those are raised again a moment later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _unwind) for number in STOPPING}
    report = sys.unraisablehook

    def ignored(unraisable: Any) -> None:
        for kind, number in ((KeyboardInterrupt, signal.SIGINT), (SystemExit, signal.SIGTERM)):
            if issubclass(unraisable.exc_type, kind):
                again = threading.Timer(0.02, _raise, (number,))
                again.daemon = True
                again.start()
                return
        report(unraisable)

    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int) -> None:
    """Send this process a signal from any of its threads."""
    if sys.platform == "win32":
        signal.raise_signal(number)  # os.kill would end the process without any handler
    else:
        os.kill(os.getpid(), number)


def _unwind(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _leave(number: int) -> NoReturn:
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    line = "logvar: stopped in a compilation; what was saved before it is whole"
    os.write(2, f"{shown}\n{line}\n".encode())
    os._exit(128 + number)


@contextlib.contextmanager
def leaving_unheard(harmless: Callable[[], bool], seconds: float = 3.0) -> Iterator[None]:
    """Within this context a signal that the main thread does not handle ends the process.

    This happens if the main thread stays inside one call of a library, usually a compilation, for
    this many seconds. Files on disk are then as complete as after SIGKILL. A second unhandled
    signal ends the process at once. The exit code is 128 + the signal's number. On Windows, where
    a pipe cannot be polled, signals wait for the library's call to return.

    Args:
        harmless: returns whether nothing would be lost; called in another thread.
        seconds: how long the main thread has to handle the first signal.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Python writes a signal's number here as soon as it arrives, whatever the main thread does.
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reading, harmless, seconds), daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _heard.set()
        os.close(writing)
        watch.join()
        os.close(reading)


def _watch(reading: int, harmless: Callable[[], bool], seconds: float) -> None:
    """Read arriving signals until the pipe is closed."""
    while came := os.read(reading, 1):
        if came[0] in STOPPING:
            _leave_if_unheard(came[0], reading, harmless, seconds)


def _leave_if_unheard(
    number: int, reading: int, harmless: Callable[[], bool], seconds: float
) -> None:
    """Return once the main thread is between two instructions, where the handler runs, too."""
    _heard.clear()
    ctypes.pythonapi.Py_AddPendingCall(_notice, None)
    patient_until = time.monotonic() + seconds
    while not _heard.wait(0.05):
        again = select.select([reading], [], [], 0)[0]
        if again and not os.read(reading, 1):
            return  # closed: the main thread is leaving the context
        if again or (time.monotonic() > patient_until and harmless()):
            _leave(number)
