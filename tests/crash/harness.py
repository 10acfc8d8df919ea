"""Kill `logvar fit` at some moment, go on with --resume, and compare the final bytes.

python -m tests.crash.harness --kills 50        # what `make crash` runs; prints a table
"""

import argparse
import collections
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FINAL = ("weights.safetensors", "metrics.jsonl", "evaluation.json", "recipe.toml")
SETTINGS = [
    "--latent-dim", "2", "--network", "mlp(hidden=[32])", "--patience", "0", "--batch-size", "16",
    "--likelihood", "bernoulli", "--binarization", "dynamic", "--importance-samples", "400", "--learning-rate", "0.003",
]  # fmt: skip
MOMENTS = ("loading or compiling", "training", "writing a checkpoint", "evaluation or report")


class Place:
    """A folder with data and an unbroken run to compare with."""

    def __init__(self, folder: Path, epochs: int = 60):
        self.folder = folder
        self.epochs = epochs
        rng = np.random.default_rng(0)
        np.save(folder / "table.npy", rng.random((400, 12)).astype(np.float32))
        self._timed("whole")

    @functools.cached_property
    def seconds(self) -> float:
        """How long a run from a warm cache lasts, and so when one may be killed."""
        return self._timed("again")

    def _timed(self, out: str) -> float:
        started = time.monotonic()
        process = self.start(out, resume=False)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return time.monotonic() - started

    def start(self, out: str, *, resume: bool, cold: bool = False) -> subprocess.Popen:
        """Start a fit; `cold` compiles everything anew."""
        command = [sys.executable, "-m", "logvar", "fit", "table.npy", *SETTINGS, "--out", out]
        command += ["--checkpoint-seconds", "0", *(["--resume"] if resume else [])]
        command += ["--epochs", str(self.epochs)]
        cache = "" if cold else str(self.folder / "cache")
        return subprocess.Popen(
            command, cwd=self.folder, env=os.environ | {"LOGVAR_CACHE": cache, "COLUMNS": "200"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def interrupt(self, out: str, number: int, after: float, *, cold: bool) -> tuple[str, float]:
        """Send a signal so long after the start; where it struck, and the seconds until exit."""
        process = self.start(out, resume=(self.folder / out).exists(), cold=cold)
        time.sleep(after)
        process.send_signal(number)
        sent = time.monotonic()
        process.communicate(timeout=120)
        return self.moment(out), time.monotonic() - sent

    def interrupt_in(self, out: str, number: int, moment: str, times: int = 1) -> float:
        """Send a signal as soon as a run is seen at a moment; the seconds until exit."""
        process = self.start(out, resume=False, cold=moment == "loading or compiling")
        while self.moment(out) != moment:
            assert process.poll() is None, f"the run ended before it was seen {moment}"
            time.sleep(0.002)
        for _ in range(times):
            process.send_signal(number)
        sent = time.monotonic()
        process.communicate(timeout=120)
        return time.monotonic() - sent

    def moment(self, out: str) -> str:
        """What a process that was ended was doing, as its folder tells."""
        if (self.folder / out / "manifest.json").is_file():
            return "after publishing"
        unfinished = self.folder / f".{out}.unfinished"
        if not unfinished.is_dir():
            return "before the run folder"
        if (unfinished / "report.html").is_file() or (unfinished / "manifest.json").is_file():
            return "evaluation or report"
        checkpoints = list((unfinished / "checkpoints").glob("*")) if unfinished.is_dir() else []
        if any(path.name.endswith(".partial") for path in checkpoints):
            return "writing a checkpoint"
        if any(not (path / "checkpoint.json").is_file() for path in checkpoints):
            return "between renaming and marking"
        return "training" if checkpoints else "loading or compiling"

    def finish(self, out: str) -> list[str]:
        """Go on until the run is whole; the names of the final files that differ."""
        process = self.start(out, resume=True)
        _, errors = process.communicate(timeout=300)
        if process.returncode != 0:
            return [f"exit {process.returncode}: {errors.strip()[-300:]}"]
        whole, other = self.folder / "whole", self.folder / out
        return [
            name for name in FINAL if (whole / name).read_bytes() != (other / name).read_bytes()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM", "SIGINT"], default="SIGKILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each-moment", action="store_true", help="one moment after another")
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    number = getattr(signal, chosen.signal)
    # A shell's background job ignores Ctrl-C, and so would the runs it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    moments: collections.Counter[str] = collections.Counter()
    same, slowest = 0, 0.0
    in_turn = MOMENTS if chosen.each_moment else ()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        print(f"an unbroken run takes {place.seconds:.1f} s from a warm cache")
        for kill in range(chosen.kills):
            out = f"run{kill}"
            if in_turn:
                wanted = in_turn[kill % len(in_turn)]
                seconds = place.interrupt_in(out, number, wanted)
                different = place.finish(out)
                print(f"{wanted}: out after {seconds:.1f} s; {different or 'the same bytes'}")
                slowest, same = max(slowest, seconds), same + (not different)
                continue
            cold = kill % 5 == 4
            after = rng.uniform(0.3, place.seconds * (1.5 if cold else 1.0))
            moment, seconds = place.interrupt(out, number, after, cold=cold)
            slowest = max(slowest, seconds)
            if number != signal.SIGKILL and seconds > 5:
                print(f"signal {kill} after {after:.2f} s ({moment}): out after {seconds:.1f} s")
            different = place.finish(out)
            moments[moment] += 1
            same += not different
            if different:
                print(f"kill {kill} after {after:.2f} s ({moment}): {different}")
            shutil.rmtree(place.folder / out, ignore_errors=True)
    print(f"{chosen.signal}: {same} of {chosen.kills} went on to the same final bytes")
    print(f"slowest exit after the signal: {slowest:.1f} s")
    for moment, count in moments.most_common():
        print(f"  {count:>3}  {moment}")
    sys.exit(same != chosen.kills)


if __name__ == "__main__":
    main()
