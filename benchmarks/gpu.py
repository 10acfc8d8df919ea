"""The same work on a GPU, in one command: `LOGVAR_DATA=folder python benchmarks/gpu.py`.

Needs a JAX with a GPU backend (pip install "jax[cuda12]"). Prints seconds for each piece of work, the
share of the measured matrix-product and bandwidth ceilings that the MLP's step reaches, and the time of
a fleet of 64 models over that of one. It has not been run on a GPU yet; on a CPU it runs as well.
"""

import statistics
import time

import jax
import jax.numpy as jnp

from logvar import assembly
from logvar.recipe import Recipe
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import train_fleet
from ours import MLP, WORKS, mnist
from run import MLP_FLOPS

MLP_NUMBERS = 2 * 784 * 512 + 512 * 40 + 20 * 512
TOUCHED = 12 * 4  # bytes for each weight and step: gradient, moments and weight, read and written


def median(run, units, repetitions=7):
    run()
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        seconds.append((time.perf_counter() - started) / units)
    return statistics.median(seconds)


def ceilings():
    """(floating-point operations, bytes) per second of one product and of one sum of arrays."""
    size = 8192 if jax.default_backend() == "gpu" else 1024
    x = jnp.ones((size, size))
    multiply, add = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1)
    product = median(lambda: jax.block_until_ready(multiply(x)), 1)
    total = median(lambda: jax.block_until_ready(add(x)), 1)
    return 2 * size**3 / product, 2 * x.nbytes / total


def fleet_of(count):
    rows = mnist()[0][:12_800]
    recipe = Recipe().replace(**MLP, epochs=1, patience=0)
    runs = [
        assembly.build_run(recipe.replace(random_state=s), rows[:-1000], rows[-1000:])
        for s in range(count)
    ]
    members = [Member(r.model, r.coordinates, s, 1e-3) for s, r in enumerate(runs)]
    first = runs[0]

    def run():
        train_fleet(
            members, first.rows, first.validation, first.objective, first.plan,
        )  # fmt: skip

    return median(run, 1, 3)


def main():
    print(jax.devices())
    flops, bandwidth = ceilings()
    print(f"matrix products {flops / 1e12:.2f} TFLOP/s, bandwidth {bandwidth / 1e9:.0f} GB/s")
    for name, setup in WORKS.items():
        if name not in ("logvar-product", "logvar-singles"):
            seconds = median(*setup())
            print(f"{name:<26} {seconds:.6f} s", flush=True)
            if name == "logvar-mlp-step":
                print(
                    f"    {MLP_FLOPS / seconds / flops:.1%} of the products' ceiling, "
                    f"{MLP_NUMBERS * TOUCHED / seconds / bandwidth:.1%} of the bandwidth's"
                )
    one, many = fleet_of(1), fleet_of(64)
    print(f"a fleet of 64 models takes {many / one:.1f} times as long as one model")


if __name__ == "__main__":
    main()
