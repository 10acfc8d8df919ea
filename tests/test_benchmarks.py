"""benchmarks/gpu.py runs here as a dry run; what it measures needs a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import slow

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("only", "rows", "ratios"), [("MLP step", 2, 1), slow("", 7, 2)])
def test_the_gpu_benchmark_runs_dry(only, rows, ratios, tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--tiny", "--only", only],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
        env={name: value for name, value in os.environ.items() if name != "LOGVAR_DATA"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("device: ") and "the numbers mean nothing" in run.stdout
    assert sum(" s" in line and line.split()[-1] == "s" for line in lines) == rows
    assert run.stdout.count("    bfloat16 over float32: ") == ratios
    assert lines[-1].startswith("a fleet of 4 models takes ")
