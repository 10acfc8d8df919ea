"""The table of benchmarks on a GPU: `LOGVAR_DATA=folder python benchmarks/gpu.py`.

Needs a JAX with a GPU backend (pip install "jax[cuda12]"). Prints the device; the seconds of each piece of
work, beside those of PyTorch and pythae where they are installed in the same environment; the time of a
step in bfloat16 over float32, of convolutions (tutorial) and of the MLP, which says whether `precision` pays
there; the shares of the measured matrix-product and bandwidth ceilings that the MLP's step reaches; and the
time of a fleet of 64 models over that of one. The peers' own code decides where it runs: `peers.py` keeps
them on the CPU, so move it to the device before a ratio is reported.

It has not been run on a GPU. `--tiny` is a dry run anywhere, on random images and small sizes: it shows
that the script works, and its numbers mean nothing.
"""

import argparse
import functools
import importlib.util
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import ours
import peers
from logvar import assembly
from logvar.recipe import Recipe
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import train_fleet
from run import MLP_FLOPS

MLP_NUMBERS = 2 * 784 * 512 + 512 * 40 + 20 * 512
TOUCHED = 12 * 4  # bytes for each weight and step: gradient, moments and weight, read and written
TABLE = {
    "tutorial step": ("logvar-tutorial-step", "torch-tutorial-step"),
    "tutorial step, bfloat16": ("logvar-tutorial-step-bfloat16", None),
    "MLP step": ("logvar-mlp-step", None),
    "MLP step, bfloat16": ("logvar-mlp-step-bfloat16", None),
    "MLP epoch": ("logvar-mlp-epoch", "pythae-epoch"),
    "encode": ("logvar-encode", "torch-encode"),
    "likelihood": ("logvar-likelihood", "pythae-likelihood"),
}


def median(run, units, repetitions):
    run()
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append((time.perf_counter() - started) / units)
    return statistics.median(seconds)


def ceilings(size, repetitions):
    """(floating-point operations, bytes) per second of one product and of one sum of arrays."""
    x = jnp.ones((size, size))
    multiply, add = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1)
    product = median(lambda: multiply(x), 1, repetitions)
    total = median(lambda: add(x), 1, repetitions)
    return 2 * size**3 / product, 2 * x.nbytes / total


def fleet_of(count, rows, repetitions):
    """Seconds of an epoch of so many models of the MLP."""
    recipe = Recipe().replace(**ours.MLP, epochs=1, patience=0)
    held_out = len(rows) // 10
    data = assembly.TrainingData(rows[:-held_out], rows[-held_out:])
    runs = [assembly.build_run(recipe.replace(random_state=s), data) for s in range(count)]
    members = [Member(r.model, r.coordinates, s, 1e-3) for s, r in enumerate(runs)]
    first = runs[0]

    def run():
        train_fleet(members, first.rows, first.validation, first.objective, first.plan)

    return median(run, 1, repetitions)


@functools.cache
def random_images():
    """As MNIST, but few and of noise: (train, test)."""
    draw = np.random.default_rng(0)
    return tuple(draw.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8) for n in (256, 64))


def peer(name):
    """The peer's set-up, or None if its library is not installed."""
    library = name and name.split("-")[0]
    if not library or importlib.util.find_spec(library) is None:
        return None
    return peers.WORKS[name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiny", action="store_true", help="a dry run of seconds, anywhere")
    parser.add_argument("--only", default="", help="the rows with this in their name")
    chosen = parser.parse_args()
    backend = jax.default_backend()
    devices = ", ".join(f"{d.device_kind} ({d.platform})" for d in jax.devices())
    print(f"device: {devices}; jax {jax.__version__}")
    if backend == "cpu":
        print("This is not a GPU: the numbers say nothing about one.")
    if chosen.tiny:
        print("A dry run on random images: the numbers mean nothing.")
        for module in (ours, peers):
            module.mnist = random_images
    repetitions = 1 if chosen.tiny else 7
    size = 64 if chosen.tiny else 8192 if backend != "cpu" else 1024
    flops, bandwidth = ceilings(size, repetitions)
    print(f"matrix products {flops / 1e12:.2f} TFLOP/s, bandwidth {bandwidth / 1e9:.0f} GB/s")
    of_float32 = {}
    for name, (own, other) in TABLE.items():
        if chosen.only not in name:
            continue
        seconds = median(*ours.WORKS[own](), repetitions)
        line = f"{name:<26} {seconds:.6f} s"
        if (setup := peer(other)) is not None:
            theirs = median(*setup(), repetitions)
            line += f"   {other} {theirs:.6f} s   ratio {seconds / theirs:.2f}"
        print(line, flush=True)
        of_float32[f"{name}, bfloat16"] = seconds
        if name in of_float32:
            print(f"    bfloat16 over float32: {seconds / of_float32[name]:.2f}")
        if name == "MLP step":
            print(
                f"    {MLP_FLOPS / seconds / flops:.1%} of the products' ceiling, "
                f"{MLP_NUMBERS * TOUCHED / seconds / bandwidth:.1%} of the bandwidth's"
            )
    rows = ours.mnist()[0][:12_800]
    count = 4 if chosen.tiny else 64
    one, many = (fleet_of(n, rows, 1 if chosen.tiny else 3) for n in (1, count))
    print(f"a fleet of {count} models takes {many / one:.1f} times as long as one model")


if __name__ == "__main__":
    main()
