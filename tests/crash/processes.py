"""Kill one of several processes at random moments, go on with --resume, and compare the bytes.

python -m tests.crash.processes --kills 20        # what `make crash` runs
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.processes.test_processes import finished, same, start

# Several processes read chosen rows of the file, and one reads windows of it.
LONG = ["--epochs", "60", "--checkpoint-seconds", "0", "--window", "32"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    failures, struck, slowest = 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "rows.npy", np.random.default_rng(0).random((90, 6)).astype(np.float32))
        for _ in range(2):  # the second time from a warm cache: how long a run may be killed in
            started = time.monotonic()
            finished(start(place, *LONG, "--out", "whole", "--overwrite", "--processes", "2"))
            seconds = time.monotonic() - started
        for kill in range(chosen.kills):
            out, victim = f"run{kill}", int(rng.integers(2))
            process = start(place, *LONG, "--out", out, "--processes", "2")
            time.sleep(rng.uniform(0.5, seconds))
            listed = subprocess.run(
                ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True
            ).stdout.split()
            killed = time.monotonic()
            if victim < len(listed):
                os.kill(int(listed[victim]), signal.SIGKILL)
            _, errors = process.communicate(timeout=300)
            slowest = max(slowest, time.monotonic() - killed)
            # Any number of processes goes on.
            processes = str(1 + int(rng.integers(2)))
            finished(start(place, *LONG, "--out", out, "--resume", "--processes", processes))
            different = same(place, "whole", out)
            lines = len(errors.strip().splitlines())
            broken = process.returncode != 0  # or it had ended before
            struck += broken
            failures += bool(different) or lines != broken
            print(
                f"kill {kill} of process {victim}{'' if broken else ', which had ended'}: "
                f"{different or 'the same bytes'}, {lines} lines"
            )
    print(f"{struck} kills struck a run that had not ended")
    print(f"{chosen.kills - failures} of {chosen.kills} went on to the same bytes")
    print(f"slowest end after the kill: {slowest:.1f} s")
    sys.exit(failures)


if __name__ == "__main__":
    main()
