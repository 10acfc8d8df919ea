"""Seconds until logvar answers: python benchmarks/startup.py [repetitions].

Each line is a process of its own, and the processes take turns. Processor time changes less than
wall-clock time on a machine that does other work.
"""

import resource
import statistics
import subprocess
import sys
import time

CASES = {
    "python -c pass": ["-c", "pass"],
    "import logvar": ["-c", "import logvar"],
    "logvar --version": ["-m", "logvar", "--version"],
    "logvar --help": ["-m", "logvar", "--help"],
    "logvar fit --help": ["-m", "logvar", "fit", "--help"],
    "logvar fit --nonsense": ["-m", "logvar", "fit", "--nonsense"],
    "logvar fit digits --epochs 0": ["-m", "logvar", "fit", "digits", "--epochs", "0"],
    "import jax, sklearn.base": ["-c", "import jax, sklearn.base"],
    "logvar.VAE": ["-c", "import logvar; logvar.VAE"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """(processor time, wall-clock time) of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rounds = [{name: seconds(a) for name, a in CASES.items()} for _ in range(repetitions)]
    print(f"{'medians of ' + str(repetitions):30}processor  wall clock")
    for name in CASES:
        processor, wall = (statistics.median(r[name][i] for r in rounds) for i in (0, 1))
        print(f"{name:30}{processor:8.3f} s {wall:9.3f} s")
    reference = "import jax, sklearn.base"
    ratios = [r["logvar.VAE"][0] / r[reference][0] for r in rounds]
    print(f"logvar.VAE / ({reference}): {statistics.median(ratios):.2f} of the processor time")


if __name__ == "__main__":
    main()
