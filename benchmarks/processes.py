"""Several processes on this machine: what a step sends and waits for, memory, and time.

python benchmarks/processes.py collectives    # one psum of n numbers between 2 processes, µs
python benchmarks/processes.py fits           # `logvar fit --processes N`: seconds, peak MB of each
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def one_of(index: int, number: int, port: int) -> None:
    """Time a sum over the processes, of arrays of several sizes, inside a compiled loop."""
    import jax
    from jax import lax

    from logvar.processes.placement import AXIS, SAME, Placement

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", number, index)
    placement = Placement.of(jax.devices())

    def steps(x, count):
        def step(carry):
            return carry[0] + 1, lax.psum(carry[1], AXIS) / number

        return lax.while_loop(lambda carry: carry[0] < count, step, (0, x))[1]

    for size in (1_000, 100_000, 1_000_000):
        run = jax.jit(
            jax.shard_map(
                steps, mesh=placement.mesh, in_specs=(SAME, SAME), out_specs=SAME, check_vma=False
            )
        )
        x = placement.everywhere(np.ones(size, np.float32))
        run(x, np.int32(2)).block_until_ready()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            run(x, np.int32(50)).block_until_ready()
            times.append((time.perf_counter() - started) / 50)
        if index == 0:
            print(f"{size:>9,} numbers: {1e6 * min(times):,.0f} µs", flush=True)
    jax.distributed.shutdown()


def collectives(number: int = 2) -> None:
    port = free_port()
    command = [sys.executable, __file__, "one"]
    started = [subprocess.Popen([*command, str(i), str(number), str(port)]) for i in range(number)]
    for process in started:
        process.wait()


def fits() -> None:
    rows = np.random.default_rng(0).random((20_000, 64)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "rows.npy", rows)
        for shards, number in ((1, 1), (1, 2), (1, 4), (8, 1), (8, 2), (8, 4)):
            command = [sys.executable, "-m", "logvar", "fit", "rows.npy", "--epochs", "6",
                       "--network", "mlp(hidden=[128])", "--likelihood", "normal", "--patience", "0",
                       "--batch-size", "512", "--importance-samples", "1", "--overwrite", "--out", "run",
                       "--shards", str(shards), "--processes", str(number)]  # fmt: skip
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
            peaks: dict[int, int] = {}
            while process.poll() is None:
                for pid in [process.pid, *children(process.pid)]:
                    peaks[pid] = max(peaks.get(pid, 0), resident(pid))
                time.sleep(0.05)
            lines = (Path(folder) / "run" / "timing.jsonl").read_text().splitlines()
            seconds = sorted(float(line.split(":")[-1].strip(" }")) for line in lines[1:])
            own = sorted(peaks.values())[-number:]
            print(
                f"shards {shards}, {number} processes: epoch {seconds[0]:.3f} s (fastest of 5), "
                f"peak MB {', '.join(f'{peak / 2**20:.0f}' for peak in own)}",
                flush=True,
            )


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(text) for text in path.read_text().split()] if path.exists() else []


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


if __name__ == "__main__":
    what = sys.argv[1:2]
    if what == ["one"]:
        one_of(*map(int, sys.argv[2:]))
    else:
        {"collectives": collectives, "fits": fits}[what[0] if what else "collectives"]()
