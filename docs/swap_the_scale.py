"""How far do log-variance and log-std end apart when one is swapped for the other?

    python docs/swap_the_scale.py --seeds 8

Trains on the embedded digits under log-variance and under log-std with the same learning rate,
as someone does who changes that one line of code: same data order, same noise, same first weights.
Prints the paired differences of the test ELBO with a 95 % interval over seeds (Student's t).
"""

import argparse

import numpy as np
from scipy import stats

import logvar
from logvar.data.sources import load


def fitted_elbo(data, seed, **settings):
    vae = logvar.VAE(latent_dim=2, random_state=seed, **settings).fit(data.train)
    return vae.score(data.test), vae.n_iter_


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    data = load("digits")
    common = {"optimizer": arguments.optimizer, "learning_rate": arguments.learning_rate}
    # Someone who changes that line of code changes the first σ too, so the start is left as it is.
    common["initial_sigma"] = "as-is"
    differences = []
    print("test ELBO on 297 digits, nats per example, binarization none, KL in closed form")
    print("seed  log-variance (epochs)  log-std (epochs)  difference")
    for seed in range(arguments.seeds):
        plain, epochs = fitted_elbo(data, seed, scale="log-variance", **common)
        swapped, other = fitted_elbo(data, seed, scale="log-std", **common)
        differences.append(swapped - plain)
        print(
            f"{seed:>4}  {plain:>12.3f} ({epochs:>4})    {swapped:>9.3f} ({other:>4})  "
            f"{differences[-1]:>+10.3f}"
        )
    mean, error = np.mean(differences), stats.sem(differences)
    low, high = stats.t.interval(0.95, len(differences) - 1, mean, error)
    print(f"log-std − log-variance: {mean:+.3f} [{low:+.3f}, {high:+.3f}], n = {len(differences)}")


if __name__ == "__main__":
    main()
