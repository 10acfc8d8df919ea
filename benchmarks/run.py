"""Side by side with the peers: `make bench`, or `python benchmarks/run.py [NAME …]`.

Each pair runs in two processes that take turns, repetition by repetition, so that whatever the
machine does to one it does to the other. Turns in which a virtual machine's cores were moved apart
are reported by themselves. Medians, quartiles and ratios are printed and written to
benchmarks/results/.
"""

import argparse
import datetime
import json
import operator
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cores import round_trip
from logvar.backend import extension

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".venv" / "bin" / "python"

# of other fleets than one of the default network, 256-128
WIDTHS = {"32": (32,), "64": (64,), "128": (128,), "128-64": (128, 64), "512": (512,)}

# name: (ours, peer, repetitions)
PAIRS = {
    "tutorial step, batch 32, against TensorFlow": ("logvar-tutorial-step", "tensorflow-tutorial-step", 9),
    "tutorial step, batch 32, against PyTorch": ("logvar-tutorial-step", "torch-tutorial-step", 9),
    "the tutorial step's matrix products alone, against PyTorch": ("logvar-tutorial-products", "torch-tutorial-step", 9),
    "MLP 784-512-20, batch 128, whole epoch, against pythae": ("logvar-mlp-epoch", "pythae-epoch", 5),
    "16 digits models as a fleet, against 16 fits": ("logvar-fleet", "logvar-singles", 3),
    **{
        f"16 digits models of widths {name} as a fleet, against 16 fits":
        (f"logvar-fleet-{name}", f"logvar-singles-{name}", 3)
        for name in WIDTHS
    },
    "a fleet's matrix products alone, against 16 fits": ("logvar-fleet-products", "logvar-singles", 3),
    "a fleet's kernels alone, against 16 fits": ("logvar-fleet-kernels", "logvar-singles", 3),
    "likelihood, 500 samples × 1,000 images, against pythae": ("logvar-likelihood", "pythae-likelihood", 3),
    "encode 60,000 images, against PyTorch": ("logvar-encode", "torch-encode", 9),
    "MLP step on MNIST, against the same without a zero": ("logvar-mlp-step", "logvar-mlp-step-no-zeros", 9),
    "MLP step in bfloat16, against float32": ("logvar-mlp-step-bfloat16", "logvar-mlp-step", 9),
    "tutorial step in bfloat16, against float32": ("logvar-tutorial-step-bfloat16", "logvar-tutorial-step", 9),
}  # fmt: skip

# At most so much, (in plain JAX, with logvar-kernels): a ratio where there is a peer or a floor,
# otherwise seconds.
AIMS = {
    "tutorial step, batch 32, against TensorFlow": (0.75, 1.0),
    "tutorial step, batch 32, against PyTorch": (0.65, 0.6),
    "MLP 784-512-20, batch 128, whole epoch, against pythae": (0.55, 0.25),
    "MLP 784-512-20, batch 128, a step over its floor": (1.8, 1.4),
    "likelihood, 500 samples × 1,000 images, against pythae": (0.3, 0.3),
    "encode 60,000 images, against PyTorch": (1.05, 0.8),
    "16 digits models as a fleet, against 16 fits": (None, 0.4),
    "a step on 1,000,000 rows, over one on 10,000": (1.15, 1.15),
    "logvar fit digits, whole process, second run": (10.0, 10.0),
    "import logvar, over an empty process": (0.2, 0.2),
    "first logvar.VAE, over import jax": (3.0, 3.0),
    "logvar --help": (0.4, 0.4),
}


def aim(name):
    """The aim of a row on this machine, or None."""
    plain, with_kernels = AIMS.get(name, (None, None))
    return plain if extension.active() == "none" else with_kernels


# (batch, width, latents): around the MLP above, one changed at a time
SIZES = [
    *((batch, 512, 20) for batch in (32, 128, 512, 2048)),
    *((128, width, 20) for width in (128, 2048)),
    *((128, 512, latents) for latents in (2, 200)),
]
LOGVAR = [sys.executable, "-m", "logvar"]


# Floating-point operations of one step: 3 products (forward, two gradients; the first layer needs
# one gradient) of 2·inputs·outputs for each example.
def mlp_flops(batch, width, latents):
    """Of one step of an MLP 784-width-latents."""
    return batch * 2 * (2 * 784 * width + 3 * (width * 2 * latents + latents * width + width * 784))


MLP_FLOPS = mlp_flops(128, 512, 20)
TUTORIAL_FLOPS = 32 * 2 * (
    2 * 13 * 13 * 9 * 32
    + 3 * (6 * 6 * 9 * 32 * 64 + 2304 * 4 + 2 * 1568 + 7 * 7 * 9 * 32 * 64 + 14 * 14 * 9 * 64 * 32 + 28 * 28 * 9 * 32)
)  # fmt: skip


def fleet_flops(widths):
    """Of 16 models of digits, 20 epochs of 11 batches; held-out rows are a forward pass each."""
    sizes = (64, *widths)
    weights = 2 * sum(map(operator.mul, sizes, widths)) + widths[-1] * (20 + 10)
    return 16 * 20 * 2 * (11 * 128 * (3 * weights - 64 * widths[0]) + 150 * weights)


KERNELS_ONLY = {"a fleet's kernels alone, against 16 fits"}
"""Pairs that measure logvar-kernels, left out where it is not in use."""

# A pair whose name has this in it: its floating-point operations, the floor of both sides.
FLOPS = {
    "tutorial step, batch 32": TUTORIAL_FLOPS,
    "whole epoch": MLP_FLOPS * 469,
    "16 digits models as a fleet": fleet_flops((256, 128)),
    **{f"widths {name} as a fleet": fleet_flops(widths) for name, widths in WIDTHS.items()},
    "likelihood": 500 * 1000 * 2 * (20 * 512 + 512 * 784),
    "encode": 60_000 * 2 * (784 * 512 + 512 * 40),
}


class Side:
    """A worker process, set up and warm."""

    def __init__(self, name):
        python = sys.executable if name.startswith("logvar-") else str(PEERS)
        self.process = subprocess.Popen(
            [python, "worker.py", name], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} could not be set up: run {python} benchmarks/worker.py {name}")

    def go(self):
        print("go", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


TRIPS = []
"""How far apart the cores were before and after each turn since the last row (cores.py)."""
APART = []
"""The seconds of each side in the turns since the last row that were set aside."""
NEAREST = [float("inf")]
"""The shortest trip of this run."""
FEWEST = 3
"""Turns that a median is taken of, at least."""


def trip():
    TRIPS.append(round_trip())
    if TRIPS[-1] is not None:
        NEAREST[0] = min(NEAREST[0], TRIPS[-1])
    return TRIPS[-1]


def alternately(*names, repetitions):
    """Seconds of each, taking turns.

    A virtual machine's cores may be moved apart while it runs (cores.py). A turn before or after
    which they were more than twice as far apart as they have been in this run is set aside and
    another one taken, up to three times as many in all; its times are reported beside the others.
    """
    sides = [Side(name) for name in names]
    near, apart = [], []
    before = trip()
    while len(near) < repetitions and len(near) + len(apart) < 3 * repetitions:
        turn = [0.0 for _ in sides]
        for i in range(len(sides))[:: -1 if (len(near) + len(apart)) % 2 else 1]:
            turn[i] = sides[i].go()
        after = trip()
        moved = None not in (before, after) and max(before, after) > 2 * NEAREST[0]
        (apart if moved else near).append(turn)
        before = after
    for side in sides:
        side.end()
    if len(near) < FEWEST:  # they stayed apart: that is how this machine is now
        near, apart = near + apart, []
    APART.extend(apart)
    return [list(seconds) for seconds in zip(*near, strict=True)]


def quartiles(values):
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


def row(name, ours, peer=None, floor=None):
    """A row of the table; the ratio is of medians, and its spread that of paired ratios."""
    found = {"name": name, "ours": statistics.median(ours), "spread": quartiles(ours)}
    against = None
    if peer is not None:
        against = statistics.median(peer)
        pairs = [a / b for a, b in zip(ours, peer, strict=True)]
        found |= {"peer": against, "peer_spread": quartiles(peer), "ratio_spread": quartiles(pairs)}
    if floor is not None:
        found["floor"] = floor
        against = against or floor
    found["ratio"] = None if against is None else found["ours"] / against
    found["at_most"] = aim(name)
    if TRIPS and None not in TRIPS:
        found["round_trips"] = [float(f"{trip:.2e}") for trip in TRIPS]
    if APART:
        medians = [statistics.median(seconds) for seconds in zip(*APART, strict=True)]
        beside = floor if peer is None else medians[1]
        ratio = None if beside is None else medians[0] / beside
        found["apart"] = {"turns": len(APART), "ours": medians[0], "ratio": ratio}
    TRIPS.clear()
    APART.clear()
    print(line(found), flush=True)
    return found


def line(found):
    text = f"{found['name']:<58} {found['ours']:.5f} s"
    if found.get("peer") is not None:
        text += f"  peer {found['peer']:.5f} s"
    if found.get("floor") is not None:
        text += f"  floor {found['floor']:.5f} s"
    if found.get("peer") is not None and found.get("floor") is not None:
        text += f" ({found['floor'] / found['peer']:.2f} of the peer)"
    if found["ratio"] is not None:
        text += f"  ratio {found['ratio']:.2f}"
    if found["at_most"] is not None:
        against = found["ratio"] if found["ratio"] is not None else found["ours"]
        text += f" (at most {found['at_most']:g}: {'yes' if against <= found['at_most'] else 'NO'})"
    if found.get("round_trips"):
        near, far = min(found["round_trips"]) * 1e6, max(found["round_trips"]) * 1e6
        text += f"  cores {near:.2f} to {far:.2f} µs apart"
    if found.get("apart"):
        apart = found["apart"]
        text += f"; {apart['turns']} turns far apart: {apart['ours']:.5f} s"
        text += "" if apart["ratio"] is None else f", ratio {apart['ratio']:.2f}"
    return text


def timed(command, repetitions, **options):
    """Seconds of whole processes."""
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, **options)
        seconds.append(time.perf_counter() - started)
    return seconds


def products(rows):
    side = Side("logvar-product")
    seconds = [side.go() for _ in range(7)]
    side.end()
    rate = 2 * 1024**3 / min(seconds)
    rows.append(row("matrix product 1024³", seconds))
    print(f"    the machine's rate: {rate / 1e9:.0f} GFLOP/s")
    return rate


def steps(rows, rate):
    seconds, bare = alternately("logvar-mlp-step", "logvar-mlp-products", repetitions=9)
    name = "MLP 784-512-20, batch 128, a step over its floor"
    floor = MLP_FLOPS / rate
    rows.append(row(name, seconds, floor=floor))
    rows.append(row("its matrix products alone, over the floor", bare, floor=floor))


def growth(rows, rate):
    sizes = (10_000, 100_000, 1_000_000)
    found = alternately(*(f"logvar-rows-{n}" for n in sizes), repetitions=15)
    rows.extend(row(f"a step on {n:,} rows of 64", s) for n, s in zip(sizes, found, strict=True))
    name = "a step on 1,000,000 rows, over one on 10,000"
    rows.append(row(name, found[-1], found[0]))


def sizes(rows, rate):
    """Time per step against batch, width and latents, one changed at a time."""
    for size in SIZES:
        side = Side("logvar-size-" + "-".join(map(str, size)))
        seconds = [side.go() for _ in range(7)]
        side.end()
        name = "MLP 784-{1}-{2}, batch {0}, a step".format(*size)
        rows.append(row(name, seconds, floor=mlp_flops(*size) / rate))


def startup(rows, rate):
    python = sys.executable
    null = timed([python, "-c", "pass"], 9)
    bare = timed([python, "-c", "import logvar"], 9)
    rows.append(row("import logvar, over an empty process", [a - b for a, b in zip(bare, null, strict=True)]))  # fmt: skip
    jax = timed([python, "-c", "import jax"], 7)
    vae = timed([python, "-c", "import logvar; logvar.VAE"], 7)
    rows.append(row("first logvar.VAE, over import jax", vae, jax))
    rows.append(row("logvar --help", timed([*LOGVAR, "--help"], 9)))
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"LOGVAR_CACHE": f"{folder}/cache"}
        command = [*LOGVAR, "fit", "digits", "--overwrite", "--out", f"{folder}/digits"]
        timed(command, 1, env=environment)
        rows.append(row("logvar fit digits, whole process, second run", timed(command, 3, env=environment)))  # fmt: skip


def memory(rows, rate):
    """The peak of a process that trains on MNIST, over the data as uint8."""
    code = (
        "import resource, logvar; from data import mnist; rows = mnist()[0];"
        "vae = logvar.VAE(network='mlp(hidden=[512])', latent_dim=20, epochs=2, patience=0).fit(rows);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True
    )
    peak = float(done.stdout.split()[-1])
    print(f"{'peak while training on MNIST':<58} {peak:.0f} MB, data as uint8 47 MB (at most 647)")
    rows.append(
        {"name": "peak memory while training on MNIST, MB", "megabytes": peak, "at_most": 647}
    )


PARTS = {"sizes": sizes, "growth": growth, "startup": startup, "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help=f"parts of names, or: floor {' '.join(PARTS)}")
    parser.add_argument("--data-dir", default=os.environ.get("LOGVAR_DATA"), help="where MNIST is")
    chosen = parser.parse_args()
    if not chosen.data_dir:
        sys.exit("give --data-dir, or set LOGVAR_DATA: the folder with MNIST")
    os.environ["LOGVAR_DATA"] = str(Path(chosen.data_dir).resolve())
    wanted = lambda name: not chosen.only or any(part in name for part in chosen.only)  # noqa: E731
    rows = []
    rate = products(rows)
    if wanted("floor"):
        steps(rows, rate)
    aims = "in plain JAX" if extension.active() == "none" else "with logvar-kernels"
    print(f"    kernels: {extension.description()}; the aims are those {aims}")
    for name, (ours, peer, repetitions) in PAIRS.items():
        if name in KERNELS_ONLY and extension.active() == "none":
            continue
        if wanted(name):
            seconds = alternately(ours, peer, repetitions=repetitions)
            flops = next((count for part, count in FLOPS.items() if part in name), None)
            floor = None if flops is None else flops / rate
            rows.append(row(name, *seconds, floor))
    for name, part in PARTS.items():
        if wanted(name):
            part(rows, rate)
    write(rows, rate)


def write(rows, rate):
    now = datetime.datetime.now(datetime.UTC)
    content = {
        "date": now.isoformat(timespec="seconds"),
        "machine": {
            "processor": processor(), "cores": os.cpu_count(), "system": platform.system(),
            "python": platform.python_version(), "kernels": extension.active(),
            "gigaflops": rate / 1e9,
        },
        "rows": rows,
    }  # fmt: skip
    path = HERE / "results" / f"{now:%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path.relative_to(HERE.parent))


def processor():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())  # fmt: skip


if __name__ == "__main__":
    main()
