"""How far apart two cores are: the time a number takes from one to the other and back.

A virtual machine's cores may be moved while it runs. On an AMD EPYC two of them pass a number there
and back in 0.1 µs where they share a cache and in 0.4 where they do not, for seconds to minutes at
a time, and all that one core writes and the other reads takes as much longer: our step of the
tutorial 3.4 ms or 5.8, that of the MLP 1.5 or 2.0, while a single large product takes the same.
Here Python's own turns come on top, so only the difference tells.
"""

import mmap
import os
import subprocess
import sys
import time

TURNS = 20_000


def round_trip():
    """Seconds for each turn, in a process of its own, which stays on its core; None where there is
    one core, or no way to fork."""
    if not hasattr(os, "fork") or (os.cpu_count() or 1) < 2:
        return None
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measured():
    """Seconds for each turn between this process and a child that wait for each other's number."""
    shared = mmap.mmap(-1, 4096)
    child = os.fork()
    if child == 0:
        _answer(shared)
        os._exit(0)
    _on_core(0)
    started = time.perf_counter()
    for turn in range(TURNS):
        ours = turn % 2 + 1
        shared[0] = ours
        while shared[64] != ours:
            pass
    seconds = (time.perf_counter() - started) / TURNS
    os.waitpid(child, 0)
    return seconds


def _answer(shared):
    _on_core(1)
    for turn in range(TURNS):
        theirs = turn % 2 + 1
        while shared[0] != theirs:
            pass
        shared[64] = theirs


def _on_core(number):
    """Stay on one of the cores that this process may use, where that can be asked for."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})


if __name__ == "__main__":
    print(measured())
