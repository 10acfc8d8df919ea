"""Check an installed logvar from end to end in at most three minutes, without pytest.

`make smoke PYTHON=python3.13` runs it in a clean environment that holds the built wheel.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import sklearn
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import check_estimator

import logvar
from logvar.likelihoods import LIKELIHOODS

IRIS = load_iris().data
SMALL = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 2}
INTEGERS = (
    "discretized-logistic",
    "categorical",
    "poisson",
    "negative-binomial",
    "zero-inflated-negative-binomial",
)
STOCHASTIC = {"check_sample_weight_equivalence_on_dense_data": "noise and order differ"}
FINAL = ("weights.safetensors", "metrics.jsonl", "evaluation.json", "recipe.toml")


def command(folder, *arguments):
    """Start `logvar` in this folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "logvar", *arguments],
        cwd=folder,
        env=os.environ | {"LOGVAR_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait for a command that must succeed; what it printed."""
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def demo(folder):
    """`logvar fit digits` as in `make demo`, with fewer epochs, then two commands on the run."""
    fit = ["fit", "digits", "--latent-dim", "2", "--epochs", "8", "--checkpoint-seconds", "0"]
    finish(command(folder, *fit, "--out", "whole"))
    names = {path.name for path in (folder / "whole").iterdir()}
    assert {*FINAL, "manifest.json", "report.html"} <= names, names
    finish(command(folder, "encode", "whole", "--out", "codes.csv"))
    rows = (folder / "codes.csv").read_text().splitlines()
    assert rows[0] == '"z0","z1"' and len(rows) > 1000, rows[0]


def resume(folder):
    """Kill the same fit, resume it, and get the bytes of the unbroken run."""
    fit = ["fit", "digits", "--latent-dim", "2", "--epochs", "8", "--checkpoint-seconds", "0"]
    process = command(folder, *fit, "--out", "killed")
    while not list(folder.glob(".killed.unfinished/checkpoints/*/checkpoint.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "killed").exists(), "the run ended before it was killed"
    finish(command(folder, *fit, "--out", "killed", "--resume"))
    for name in FINAL:
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), (
            f"{name} of the resumed run differs from the unbroken run's"
        )


def estimator_checks(folder):
    """scikit-learn's own checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            logvar.VAE(**SMALL | {"epochs": 1}), on_skip=None, expected_failed_checks=STOCHASTIC
        )
    passed = sum(result["status"] == "passed" for result in results)
    assert passed > 40, passed


def likelihoods(folder):
    """Each likelihood fits, scores, saves and loads to the same numbers."""
    for name in LIKELIHOODS.names():
        if name == "mixed":  # for tables with a schema
            continue
        rows = np.round(IRIS * 10) if name in INTEGERS else IRIS
        rows = IRIS / 10 if "bernoulli" in name else rows
        vae = logvar.VAE(**SMALL, likelihood=name).fit(rows)
        scores = vae.score_samples(rows, n_samples=3)
        assert np.isfinite(scores).all(), name
        again = logvar.load(vae.save(folder / name))
        np.testing.assert_array_equal(again.score_samples(rows, n_samples=3), scores, name)


def compare(folder):
    """A small comparison: verdicts, tables and the report."""
    out = folder / "comparison"
    logvar.compare(
        IRIS,
        scales=["log-variance", "log-std"],
        learning_rates=[1e-3],
        seeds=2,
        importance_samples=3,
        out=out,
        **SMALL,
    )
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert any(verdict["verdict"] == "identical by construction" for verdict in verdicts)
    assert (out / "report.html").is_file() and (out / "runs.csv").is_file()


def main():
    print(
        f"Python {sys.version.split()[0]}, logvar {logvar.__version__}, JAX {jax.__version__}, "
        f"NumPy {np.__version__}, scikit-learn {sklearn.__version__}",
        flush=True,
    )
    started = time.monotonic()
    # The commands compile as users do. For the rest, quickly compiled programs do as well.
    jax.config.update("jax_disable_most_optimizations", True)
    with tempfile.TemporaryDirectory(prefix="logvar smoke ") as folder:
        for part in (demo, resume, likelihoods, compare, estimator_checks):
            before = time.monotonic()
            part(Path(folder))
            print(f"{part.__name__}: passed, {time.monotonic() - before:.0f} s", flush=True)
    print(f"smoke: passed, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
