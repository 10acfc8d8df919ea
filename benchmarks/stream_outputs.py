"""Anonymous memory of commands that write block by block, on a .npy file of 1 GB.

    python benchmarks/stream_outputs.py               # all commands
    python benchmarks/stream_outputs.py encode score  # some of them

Each command is a process of its own. Memory is RssAnon of /proc/self/status, looked at every 10 ms;
its growth is counted from the same command on 10,000 rows, which compiles the same programs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FEATURES, ROWS, FEW = 128, 2_000_000, 10_000
COMMANDS = {
    "encode": "encode run {data} --out {out}.npy",
    "encode-csv": "encode run {data} --out {out}.csv",
    "score": "score run {data} --importance-samples 2 --out {out}.csv",
    "reconstruct": "reconstruct run {data} --out {out}.npy",
    "impute": "impute run {data} --samples 2 --out {out}.npy",
    "outliers": "outliers {data} --run run --importance-samples 2 --out {out}.parquet",
    "sample": "sample run --n {n} --out {out}.npy",
    "sample-csv": "sample run --n {n} --out {out}.csv",
}


def anonymous() -> float:
    """Return this process's anonymous memory in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("RssAnon is not in /proc/self/status: this needs Linux")


def logvar(line: str) -> None:
    from logvar.cli.main import main

    sys.argv = ["logvar", *line.split()]
    main()


def worker(command: str) -> None:
    """Run a command on few rows and on all, and print how much memory grew between."""
    logvar(command.format(data="few.npy", out=f"few-{command.split()[0]}", n=FEW))
    before = most = anonymous()
    ends = threading.Event()

    def look() -> None:
        nonlocal most
        while not ends.wait(0.01):
            most = max(most, anonymous())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    began, processor = time.perf_counter(), time.process_time()
    logvar(command.format(data="many.npy", out=f"many-{command.split()[0]}", n=ROWS))
    ends.set()
    thread.join()
    figures = {
        "before_mb": round(before),
        "growth_mb": round(most - before),
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
    }
    print(json.dumps(figures))


def make() -> None:
    """Write the files, and fit a run to the few rows."""
    import numpy as np

    rng = np.random.default_rng(0)
    block = rng.normal(size=(FEW, FEATURES)).astype(np.float32)
    np.save("few.npy", block)
    shape = (ROWS, FEATURES)
    many = np.lib.format.open_memmap("many.npy", "w+", np.float32, shape)
    for start in range(0, ROWS, FEW):
        many[start : start + FEW] = np.roll(block, start // FEW, axis=1)
    many.flush()
    logvar("fit few.npy --epochs 1 --latent-dim 4 --network mlp(hidden=[16]) --out run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    asked = parser.parse_args().commands
    script = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for call in ("make()", *(f"worker({COMMANDS[name]!r})" for name in asked)):
            code = f"import sys; sys.path.insert(0, {str(script.parent)!r})\n"
            code += f"import stream_outputs; stream_outputs.{call}"
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            if call != "make()":
                name = next(n for n in asked if COMMANDS[n] in call)
                print(f"{name:<12} {done.stdout.strip().splitlines()[-1]}", flush=True)
                for path in Path(folder).glob("many-*"):
                    path.unlink()


if __name__ == "__main__":
    main()
