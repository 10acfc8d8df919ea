"""Signals wait where they must, and end a process that cannot hear them."""

import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from logvar import signals
from logvar.errors import LogvarError
from logvar.processes import launching
from logvar.signals import held

# One call of a library that runs for minutes, lets other threads run, and hears no signal.
DEAF = """
import hashlib, signal, threading
from logvar.signals import leaving_unheard
signal.signal(signal.SIGTERM, lambda number, frame: print("heard", flush=True))
with leaving_unheard(lambda: {harmless}, seconds=0.1):
    # Said from another thread, when the main one is in there and says nothing any more.
    threading.Timer(0.5, lambda: print("inside", flush=True)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
"""
LISTENING = """
import signal, time
from logvar.signals import leaving_unheard
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
with leaving_unheard(lambda: True, seconds=0.1):
    print("inside", flush=True)
    while not heard:
        pass
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        pass
print("went on", flush=True)
"""
# What is raised in a callback of the garbage collector, the interpreter reports and forgets.
IGNORING = """
import gc, os, signal, time
from logvar.signals import unwinding
def callback(phase, info):
    if phase == "start":
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
gc.callbacks.append(callback)
with unwinding():
    print("inside", flush=True)
    gc.collect()
    time.sleep(5)
print("nothing came", flush=True)
"""


@pytest.fixture
def started():
    processes = []

    def start(script):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        processes.append(process)
        assert process.stdout.readline() == "inside\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_signal_nobody_hears_ends_the_process_where_nothing_is_lost(started):
    process = started(DEAF.format(harmless=True))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.strip() == "logvar: stopped in a compilation; what was saved before it is whole"


def test_where_something_is_lost_it_takes_a_second_signal(started):
    process = started(DEAF.format(harmless=False))
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_a_signal_that_is_heard_is_left_to_its_handler(started):
    process = started(LISTENING)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "went on\n")


def test_a_signal_whose_exception_went_nowhere_comes_again(started):
    process = started(IGNORING)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (128 + signal.SIGTERM, "", "")


def test_other_ignored_exceptions_are_still_reported(started):
    process = started(IGNORING.replace("os.kill(os.getpid(), signal.SIGTERM)", "1 / 0"))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "nothing came\n")
    assert "ZeroDivisionError" in errors


def test_a_held_signal_waits_even_where_other_threads_would_take_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10):
                time.sleep(0.001)  # Python looks for signals when it takes its lock again
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        end.set()
        other.join()
        signal.signal(signal.SIGTERM, before)


def test_windows_polls_no_pipe_and_kills_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    before, threads = signal.set_wakeup_fd(-1), threading.active_count()
    signal.set_wakeup_fd(before)
    with signals.leaving_unheard(harmless=lambda: True):
        assert signal.set_wakeup_fd(before) == before and threading.active_count() == threads
    monkeypatch.setattr(os, "kill", None)
    # A process that was started in the background ignores SIGINT.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signals._raise(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)
    with pytest.raises(LogvarError, match="this is Windows: leave it out"):
        launching.launch(2, ["fit", "digits"])


def test_an_interrupt_while_the_command_is_imported_is_one_line(monkeypatch, capsys):
    from logvar.__main__ import run

    def importing(name):
        raise KeyboardInterrupt

    half_imported = types.ModuleType("logvar.cli.main")
    half_imported.__getattr__ = importing
    monkeypatch.setitem(sys.modules, "logvar.cli.main", half_imported)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "logvar: interrupted\n"
