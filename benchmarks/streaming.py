"""Data larger than memory: anonymous memory, and time per example beside the same rows in memory.

    python benchmarks/streaming.py reach     # 40 shards that name one 500 MB file: 20 GB
    python benchmarks/streaming.py parquet   # a Parquet file of 2 GB
    python benchmarks/streaming.py flat      # from 10⁴ to 10⁷ rows
    python benchmarks/streaming.py speed     # paired with rows in memory, once files are cached

Memory is RssAnon of /proc/self/status, looked at every 10 ms; its growth is counted from a process
that has fitted a small model of the same kind. Files are made in a folder of their own below the
temporary folder and deleted. Every case is a process of its own. Times are medians over epochs
after the first, or over chunks of 50 steps (flat: processor time, which a busy machine changes
least); ratios are of runs that take turns, so that a busy machine slows both.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FEATURES = 784
SETTINGS = {"latent_dim": 10, "network": "mlp(hidden=[256])", "likelihood": "normal"}


def anonymous() -> float:
    """Return this process's anonymous memory in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("RssAnon is not in /proc/self/status: this needs Linux")


class Peak:
    """The largest anonymous memory while it is open."""

    def __enter__(self):
        self.most, self._ends = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self):
        while not self._ends.wait(0.01):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()


class Clock:
    """A watcher that keeps the seconds of each epoch and of each step, and stops after some steps."""

    def __init__(self, steps: int = 0):
        self.steps, self.taken, self.epochs, self.of_a_step = steps, 0, [], []
        self._started = self._before = None

    def chunk_steps(self):
        return 50

    def on_chunk(self, epoch, done, of, state):
        if self._started is None:  # after the program is compiled
            self._started = (time.perf_counter(), time.process_time(), done)
        self.taken += 50
        now = int(state.step), time.process_time()  # waits for the steps
        if self._before is not None:
            self.of_a_step.append((now[1] - self._before[1]) / (now[0] - self._before[0]))
        self._before = now

    def on_epoch(self, metrics, state):
        now = (time.perf_counter(), time.process_time())
        self.epochs.append([now[0] - self._started[0], now[1] - self._started[1]])
        self._started, self._before = (*now, 0), None

    def stop_requested(self):
        return bool(self.steps) and self.taken >= self.steps


class Made:
    """Rows that are made from their numbers, and are nowhere."""

    def __init__(self, rows, features=20):
        import numpy as np

        self.rows = rows
        self.table = np.random.default_rng(0).normal(size=(997, features)).astype(np.float32)

    def __len__(self):
        return self.rows

    def __getitem__(self, where):
        return self.table[where % 997] + (where % 31)[:, None].astype("float32")


def work(source, steps=0, **settings) -> dict:
    """Fit, and return seconds and memory."""
    import numpy as np

    import logvar

    small = np.random.default_rng(0).normal(size=(4000, FEATURES)).astype(np.float32)
    logvar.VAE(**SETTINGS, epochs=1).fit(small)
    del small
    before, clock, began = anonymous(), Clock(steps), time.perf_counter()
    with Peak() as peak, contextlib.suppress(KeyboardInterrupt):
        vae = logvar.VAE(**(SETTINGS | settings))
        vae.fit(source, watcher=clock)
    return {
        "before_mb": round(before),
        "growth_mb": round(peak.most - before),
        "seconds": round(time.perf_counter() - began, 1),
        "us_per_example": round(1e6 * statistics.median(clock.of_a_step) / vae.batch_size, 2),
        "epochs": clock.epochs,
    }


def worker(case: str, where: str, number: int) -> dict:
    import numpy as np

    if case == "reach":
        return work([f"{where}/x.npy"] * 40, steps=number, epochs=1)
    if case == "parquet":
        return work(f"{where}/x.parquet", steps=number, epochs=1, likelihood="auto")
    if case == "flat":
        return work(Made(number), steps=3000, epochs=1000, window=50_000)
    window = len(np.load(f"{where}/x.npy", mmap_mode="r")) // 4
    chosen = {"resident": "all", "windows": window, "streamed": window}[case]
    source = f"{where}/x.npy"
    return work(source if case == "streamed" else np.load(source), epochs=number, window=chosen)


def run(case: str, where: str, number: int) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, "worker", case, where, str(number)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    print(case, number, {k: v for k, v in found.items() if k != "epochs"}, flush=True)
    return found


def save_rows(path: Path, rows: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, FEATURES))
    for start in range(0, rows, 4096):
        some = file[start : start + 4096]
        some[:] = rng.standard_normal(some.shape, dtype=np.float32)
    file.flush()


def save_table(path: Path, megabytes: int) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    rng, writer, n = np.random.default_rng(0), None, 200_000
    while writer is None or path.stat().st_size < megabytes * 1e6:
        columns = {f"x{i}": rng.normal(size=n) for i in range(8)}
        columns["level"] = np.array(["a", "b", "c", "d"], object)[rng.integers(0, 4, n)]
        columns["count"] = rng.poisson(3, n)
        some = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, some.schema)
        writer.write_table(some)
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["reach", "parquet", "flat", "speed"])
    parser.add_argument("--rows", type=int, default=160_000, help="of the .npy file")
    parser.add_argument("--megabytes", type=int, default=2000, help="of the Parquet file")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logvar-streaming-") as folder:
        if chosen.what == "flat":
            for rows in (10**4, 10**5, 10**6, 10**7):
                run("flat", folder, rows)
        elif chosen.what == "parquet":
            save_table(Path(folder) / "x.parquet", chosen.megabytes)
            run("parquet", folder, chosen.steps)
        else:
            save_rows(Path(folder) / "x.npy", chosen.rows)
            if chosen.what == "reach":
                run("reach", folder, chosen.steps)
                return
            found = {"resident": [], "windows": [], "streamed": []}
            for _ in range(chosen.turns):
                for case, seconds in found.items():
                    seconds.append(run(case, folder, 3)["epochs"][1:])
            for i, kind in enumerate(("wall", "processor")):
                per = {
                    case: [statistics.median(e[i] for e in turn) for turn in turns]
                    for case, turns in found.items()
                }
                for case in ("windows", "streamed"):
                    ratios = [a / b for a, b in zip(per[case], per["resident"], strict=True)]
                    print(
                        f"{kind} time per example, {case} over all rows in memory: "
                        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        print(json.dumps(worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    else:
        main()
