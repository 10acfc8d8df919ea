"""Held-out blood cells: logvar's likelihoods of counts, and scvi-tools' SCVI.

    .venv/bin/python benchmarks/counts/pbmc.py --data FOLDER --peers PYTHON

7,500 cells × 1,000 genes (UMI counts); 1,500 cells are held out, empty cells left out. All models: one hidden
layer of 128, 10 latents, batches of 128, the same number of epochs at a rate of 1e-3, no early stopping, the cell's
total as its library. The figure is the importance-weighted log p(counts | total) of a held-out cell, nats, from k draws of z,
in float64 for SCVI and as `score_samples` gives it for logvar. ± is one standard error over cells: of the mean in the first
column, of the difference from logvar's negative binomial, cell by cell, in the second. Seconds are of one thread's
processor time for each epoch; logvar's include compiling. SCVI's KL warm-up of 400 epochs, longer than the run, is
switched off: its loss is the ELBO from the first epoch, as logvar's. --peers names a Python that has scvi-tools (`make counts-peers`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
from scipy import sparse

import logvar

HERE = Path(__file__).parent
OURS = {
    "logvar, Poisson": {"likelihood": "poisson"},
    "logvar, negative binomial": {"likelihood": "negative-binomial"},
    "logvar, zero-inflated": {"likelihood": "zero-inflated-negative-binomial"},
    "logvar, negative binomial, θ starts at 1": {
        "likelihood": "negative-binomial(inverse_dispersion=1)"
    },
}
THEIRS = {
    "SCVI, Poisson": "poisson",
    "SCVI, negative binomial": "nb",
    "SCVI, zero-inflated": "zinb",
}
REFERENCE = "logvar, negative binomial"


def cells(folder, seed):
    with h5py.File(Path(folder) / "pbmc" / "pbmc_7500x1000.h5ad") as file:
        matrix = file["X"]
        parts = (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:])
        X = sparse.csr_array(parts, shape=tuple(matrix.attrs["shape"])).toarray()
    X = X[X.sum(1) > 0].astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(X))
    return X[order[1500:]], X[order[:1500]]


def ours(train, test, settings, options):
    vae = logvar.VAE(
        latent_dim=10, network="mlp(hidden=[128])", epochs=options.epochs, batch_size=128,
        learning_rate=1e-3, validation_fraction=0.0, random_state=options.seed, **settings,
    )  # fmt: skip
    start = time.process_time()
    vae.fit(sparse.csr_array(train))
    seconds = (time.process_time() - start) / options.epochs
    return vae.score_samples(test, n_samples=options.samples), seconds


def theirs(train, test, likelihood, options):
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "cells.npz", Path(folder) / "scores.npz"
        np.savez(source, train=train, test=test)
        command = [options.peers, HERE / "worker.py", source, out, likelihood]
        command += [options.epochs, options.samples, options.seed]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        with np.load(out) as found:
            return found["scores"], float(found["seconds"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("LOGVAR_DATA"), required=False)
    parser.add_argument("--peers", help="a Python with scvi-tools; without it, logvar alone")
    parser.add_argument("--scores", help="a folder that keeps scores, to go on after a stop")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--samples", type=int, default=100, help="k")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="the names of some rows")
    options = parser.parse_args()
    train, test = cells(options.data, options.seed)
    jobs = [(name, ours, settings) for name, settings in OURS.items()]
    if options.peers:
        jobs += [(name, theirs, arguments) for name, arguments in THEIRS.items()]
    scores, result = {}, {}
    path = HERE / "results" / f"pbmc-{options.epochs}-epochs.json"
    for name, job, arguments in jobs:
        if options.only and name not in options.only:
            continue
        kept = Path(options.scores or ".") / f"{name}-{options.epochs}-{options.seed}.npz"
        if options.scores and kept.exists():
            with np.load(kept) as found:
                scores[name], seconds = found["scores"], float(found["seconds"])
        else:
            scores[name], seconds = job(train, test, arguments, options)
            if options.scores:
                np.savez(kept, scores=scores[name], seconds=seconds)
        result[name] = {
            "log_likelihood": float(scores[name].mean()),
            "error": float(scores[name].std(ddof=1) / np.sqrt(len(test))),
            "seconds_per_epoch": seconds,
        }
        print(name, result[name], flush=True)
    print(
        "\n| | nats per cell | less the negative binomial | seconds per epoch |\n|---|---|---|---|"
    )
    for name, found in result.items():
        difference = scores[name] - scores[REFERENCE]
        found["difference"] = float(difference.mean())
        found["difference_error"] = float(difference.std(ddof=1) / np.sqrt(len(test)))
        print(
            f"| {name} | {found['log_likelihood']:.2f} ± {found['error']:.2f} | "
            f"{found['difference']:+.2f} ± {found['difference_error']:.2f} | "
            f"{found['seconds_per_epoch']:.2f} |"
        )
    if not options.only:
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps(
                {"samples": options.samples, "seed": options.seed, "models": result}, indent=1
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
