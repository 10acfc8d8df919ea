"""Where ten epochs of the CVAE tutorial end: by TensorFlow, and by logvar's preset.

    LOGVAR_DATA=folder benchmarks/.venv/bin/python benchmarks/tutorial_end.py tensorflow 10 11 12
    LOGVAR_DATA=folder .venv/bin/python benchmarks/tutorial_end.py logvar 10 11 12
    .venv/bin/python benchmarks/tutorial_end.py --summary

The numbers are seeds. Each run appends one line to results/tutorial_end.jsonl: the test ELBO over all
10,000 test images (threshold binarization, KL by the same draw, five draws of z for each image),
the tutorial's own metric (one draw; mean over batches of 32 of the batch's mean), and the training
ELBO of each epoch. The summary gives 95 % intervals by Welch's t-test.
"""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from data import mnist
from run import processor

RESULTS = Path(__file__).parent / "results" / "tutorial_end.jsonl"
DRAWS, BATCH, EPOCHS = 5, 32, 10


def tell(framework, seed, epoch, elbo):
    print(f"{framework}, seed {seed}, epoch {epoch}: training ELBO {elbo:.3f}", flush=True)


def logvar_run(seed, epochs):
    import logvar
    from logvar.recipe import Recipe, preset
    from logvar.training.pace import Pace

    class Told(Pace):
        def on_epoch(self, metrics, state):
            tell("logvar", seed, metrics.epoch, metrics.train["elbo"])

    settings = {name: preset("tutorial").flat()[name] for name in Recipe.settings()}
    train, test = mnist()
    vae = logvar.VAE(**settings | {"random_state": seed, "epochs": epochs})
    vae.fit(train, watcher=Told())
    curve = [epoch["train"]["elbo"] for epoch in vae.history_]
    draws = [vae.elbo(test, n_samples=n).astype(float) for n in (1, DRAWS)]
    return curve, *draws, ("logvar", "jax")


def tensorflow_run(seed, epochs):
    import tensorflow as tf

    from tensorflow_tutorial import LATENT_DIM, elbo, networks, training_step

    tf.keras.utils.set_random_seed(seed)
    train, test = ((pixels >= 128).astype("float32") for pixels in mnist())
    encoder, decoder = networks()
    step = training_step(encoder, decoder)
    data = tf.data.Dataset.from_tensor_slices(train).shuffle(len(train)).batch(BATCH)

    curve = []
    for epoch in range(epochs):
        losses = [step(batch) for batch in data]
        curve.append(-float(np.mean(np.asarray(losses), dtype=float)))
        tell("tensorflow", seed, epoch + 1, curve[-1])

    score = tf.function(lambda x: elbo(encoder, decoder, x, tf.random.normal((len(x), LATENT_DIM))))
    draws = [
        np.concatenate([score(test[i : i + 1000]).numpy() for i in range(0, len(test), 1000)])
        for _ in range(DRAWS)
    ]
    return curve, draws[0].astype(float), np.mean(draws, 0, float), ("tensorflow-cpu", "keras")


def run(framework, seed, epochs, results):
    started = time.perf_counter()
    train = {"tensorflow": tensorflow_run, "logvar": logvar_run}[framework]
    curve, one, several, packages = train(seed, epochs)
    batches = [one[i : i + BATCH].mean() for i in range(0, len(one), BATCH)]
    line = {
        "framework": framework,
        "seed": seed,
        "epochs": epochs,
        "elbo": round(float(several.mean()), 4),
        "elbo_by_batches": round(float(np.mean(batches)), 4),
        "train": [round(elbo, 3) for elbo in curve],
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {name: version(name) for name in (*packages, "numpy")},
        "processor": processor(),
    }
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def elbos(lines, framework):
    return np.asarray([line["elbo"] for line in lines if line["framework"] == framework])


def compare(lines):
    """Print each group's mean, and the intervals of the differences from TensorFlow."""
    from scipy import stats

    tensorflow = elbos(lines, "tensorflow")
    for framework in ("tensorflow", "logvar", "logvar-from-keras"):
        values = elbos(lines, framework)
        if len(values) < 2:
            continue
        print(
            f"  {framework}: {len(values)} runs, mean {values.mean():.3f}, "
            f"standard deviation {values.std(ddof=1):.3f}"
        )
        if framework != "tensorflow" and len(tensorflow) > 1:
            test = stats.ttest_ind(values, tensorflow, equal_var=False)
            low, high = test.confidence_interval(0.95)
            print(
                f"    minus tensorflow: {values.mean() - tensorflow.mean():+.3f} "
                f"[{low:+.3f}, {high:+.3f}], p = {test.pvalue:.3f}"
            )


def summary(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if line["epochs"] == EPOCHS]
    print("runs made to answer the question")
    compare([line for line in lines if not line.get("raised_the_question")])
    print("these and the runs that raised it")
    compare(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework", nargs="?", choices=("tensorflow", "logvar"))
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--summary", action="store_true")
    chosen = parser.parse_args()
    if chosen.summary:
        summary(chosen.results)
    elif not chosen.framework or not chosen.seeds:
        parser.error("give a framework and at least one seed, or --summary")
    for seed in chosen.seeds:
        run(chosen.framework, seed, chosen.epochs, chosen.results)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
