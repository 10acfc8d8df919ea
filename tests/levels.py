"""At which level XLA compiles the tests' programs: quickly, or fully, as users do.

Compiling is most of what the tests cost, and nearly all of them check what a program computes, to a
tolerance, or that two runs of one program give the same bytes. That needs none of XLA's optimizations.
Without them and with its older way of emitting fused loops, programs compile in a third of the time
or less (39 programs of two small models: 3.2 instead of 14.6 s of processor time; neither switch alone
gives half of it). Compiling each program in one piece instead of 32 saves another quarter.

    pytest                      every file, compiled fully
    pytest --compile=quickly    every file but those of FULLY, compiled quickly
    pytest --compile=fully      the files of FULLY alone, compiled fully

`make test` runs the last two, `make test-all` the first: every case of every test as users compile it.
"""

import os
import subprocess
import sys

FULLY = {
    "backend/test_bfloat16.py",
    "backend/test_compiling.py",
    "backend/test_convolution.py",
    "backend/test_products.py",
    "backend/test_winograd.py",
    "data/test_annotated_layer.py",
    "data/test_sparse.py",
    "golden/test_old_runs.py",
    "golden/test_tutorial.py",
    "oracles/test_precision_ladder.py",
    "oracles/test_scale_table.py",
    "oracles/test_sums.py",
    "rescaling/test_continuing.py",
    "storage/test_compiled_before.py",
    "study/test_identical.py",
    "training/test_averaging.py",
    "training/test_training.py",
}
"""What full compilation could break: rounding near its bound, values recorded elsewhere, the forms of
products and convolutions, bytes that must not depend on how a run is cut or padded, and those of two
programs that compute one model under two scales."""

LEVELS = ("quickly", "fully")
_FLAGS = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def selects(level, name):
    """Whether a file of tests, such as training/test_fleet.py, is run at this level."""
    return level is None or (name in FULLY) == (level == "fully")


def compile_quickly():
    """For this process and those that it starts, before any of them has compiled a program."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    for flag in _FLAGS:
        flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
        # XLA ends a process whose flags it does not know, and each version of it has its own.
        known = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"],
            env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, check=False,
        )  # fmt: skip
        if known.returncode == 0:
            os.environ["XLA_FLAGS"] = flags
