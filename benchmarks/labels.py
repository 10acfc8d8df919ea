"""A hundred labels: a VAE that sees unlabelled rows beside them, and classifiers that do not.

    .venv/bin/python benchmarks/labels.py digits --seeds 0 1 2 3 4
    LOGVAR_DATA=FOLDER .venv/bin/python benchmarks/labels.py mnist --seeds 0 1 2

Ten labels of each digit are known; the figure is the accuracy on rows that no side has seen.

digits   scikit-learn's 1,797 images of 8 × 8: 1,297 rows to train on (100 of them labelled), 500 to test.
mnist    5,000 of the 60,000 training images (100 labelled), all 10,000 test images.

Which rows and labels these are, and the start of every network, depends on the seed. Sides:

unlabelled and labelled rows   logvar.VAEClassifier, on all training rows
the same network, labels alone its classifier, on the 100 labelled rows: the same layers, optimizer and
                               number of steps, pixels in [0, 1]. Where all labels are known, nothing but
                               −log q(y | x) trains it
logistic regression            scikit-learn's, on the 100 labelled rows, pixels divided by the largest

± is one standard error over seeds; the last column is the mean of the paired differences from the first side.
"""

import argparse
import gzip
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import logvar
from data import mnist
from logvar.errors import OutsideTrainingRange

LABELS = 10
SETTINGS = {
    "digits": {
        "likelihood": "normal", "network": "mlp(hidden=[128])", "epochs": 100, "learning_rate": 3e-3,
    },
    "mnist": {
        "latent_dim": 50, "likelihood": "bernoulli", "network": "mlp(hidden=[128])", "epochs": 40,
        "batch_size": 64, "learning_rate": 2e-3,
    },
}  # fmt: skip


def digits(rng):
    rows, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(rows))
    rows, labels = (rows[order] / 16).astype(np.float32), labels[order]
    return rows[500:], labels[500:], rows[:500], labels[:500]


def handwritten(rng):
    train, test = (images.reshape(len(images), -1) for images in mnist())
    some = rng.permutation(len(train))[:5000]
    return train[some], mnist_labels("train")[some], test, mnist_labels("t10k")


def mnist_labels(part):
    folder = Path(os.environ["LOGVAR_DATA"])
    folder = folder / "mnist" if (folder / "mnist").is_dir() else folder
    path = folder / f"{part}-labels-idx1-ubyte"
    content = (
        path.read_bytes() if path.is_file() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    )
    return np.frombuffer(content[8:], np.uint8).astype(int)


def accuracies(source, seed):
    rng = np.random.default_rng(seed)
    rows, labels, test, truth = {"digits": digits, "mnist": handwritten}[source](rng)
    known = np.concatenate([np.flatnonzero(labels == k)[:LABELS] for k in range(10)])
    some = np.full(len(labels), -1)
    some[known] = labels[known]
    settings = SETTINGS[source] | {"validation_fraction": 0, "random_state": seed}
    both = logvar.VAEClassifier(**settings).fit(rows, some)
    steps = settings["epochs"] * -(-len(rows) // settings.get("batch_size", 128))
    # Not standardized, because a hundred rows do not tell how much every pixel varies.
    own = {"likelihood": "bernoulli", "epochs": steps, "batch_size": len(known)}
    alone = logvar.VAEClassifier(**settings | own)
    alone.fit(rows[known], labels[known])
    scale = rows.max()
    linear = LogisticRegression(max_iter=5000).fit(rows[known] / scale, labels[known])
    return both.score(test, truth), alone.score(test, truth), linear.score(test / scale, truth)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", OutsideTrainingRange)  # of a pixel that training rows have at 0
    found, started = [], time.perf_counter()
    for seed in chosen.seeds:
        found.append(accuracies(chosen.source, seed))
        print(f"seed {seed}: " + ", ".join(f"{a:.4f}" for a in found[-1]), flush=True)
    found = 100 * np.array(found)
    root = np.sqrt(len(found))
    print(
        f"{chosen.source}, 100 labels, {len(found)} seeds, {time.perf_counter() - started:.0f} s: accuracy, %"
    )
    names = "unlabelled and labelled rows", "the same network, labels alone", "logistic regression"
    for name, values in zip(names, found.T, strict=True):
        gap = values - found[:, 0]
        spread = (values.std(ddof=1) / root, gap.std(ddof=1) / root) if root > 1 else (0, 0)
        print(
            f"{name:<32}{values.mean():6.2f} ± {spread[0]:.2f}   {gap.mean():+6.2f} ± {spread[1]:.2f}"
        )


if __name__ == "__main__":
    main()
