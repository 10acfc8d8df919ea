"""What each objective does to a model of digits: fit, use of the latents, dependence, time.

    .venv/bin/python benchmarks/objectives.py --seeds 0 1 2

An MLP of 64 units with ten latents is trained for 60 epochs on 1,500 of scikit-learn's digits
(real intensities, Bernoulli), and measured on the other 297: log p(x) by 100 importance samples and the
ELBO, nats per example; the number of active latents (variance of the posterior mean above 0.01); the
total correlation of q(z), nats, exact for the mixture of all 1,500 posteriors but for one draw from
each; and the time of an epoch, the median without the compilation. Means over seeds, ± standard errors.
Nothing stops early, so that all run as long.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

import logvar
from logvar.data.sources import load
from logvar.models.batch import Batch
from logvar.training.pace import Pace

OBJECTIVES = (
    "elbo", "elbo(beta=4)", "elbo(warmup=20)", "elbo(capacity=10, warmup=20)", "iwae(samples=5)",
    "iwae(samples=5, gradient=dreg)", "miwae(outer=2, inner=5)", "piwae(outer=2, inner=5)",
    "ciwae(samples=5)", "renyi(samples=5)", "beta-tc", "dip", "mmd", "mmd(beta=0, weight=100)",
    "factor",
)  # fmt: skip
COLUMNS = ("log p(x)", "ELBO", "active", "TC", "ms an epoch")


class Timed(Pace):
    """Notes when each epoch ends."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_epoch(self, metrics, state):
        super().on_epoch(metrics, state)
        self.ends.append(time.perf_counter())


def total_correlation(vae, rows, seed):
    codes = jax.vmap(vae.model_.encode)(Batch(jnp.asarray(rows, jnp.float32)))
    mean, raw = (np.asarray(codes[name], float) for name in ("mean", "raw"))
    sigma = np.asarray(vae.model_.scale.sigma(raw.astype(np.float32)), float)
    z = mean + sigma * np.random.default_rng(seed).normal(size=mean.shape)
    log_q = norm.logpdf(z[:, None], mean, sigma)  # draw, row, latent
    joint = logsumexp(log_q.sum(-1), axis=1)
    marginals = logsumexp(log_q, axis=1).sum(-1)
    return float(np.mean(joint - marginals) + (mean.shape[1] - 1) * np.log(len(rows)))


def measured(objective, seed, data):
    watcher = Timed()
    vae = logvar.VAE(
        latent_dim=10, network="mlp(hidden=[64])", objective=objective, epochs=60,
        validation_fraction=0.0, patience=0, random_state=seed,
    ).fit(data.train, watcher=watcher)  # fmt: skip
    health = vae.transform(data.test).var(axis=0)
    return (
        float(vae.score_samples(data.test, n_samples=100).mean()),
        float(vae.elbo(data.test).mean()),
        float(np.sum(health > 0.01)),
        total_correlation(vae, data.train, seed),
        1000 * float(np.median(np.diff(watcher.ends))),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES)
    arguments = parser.parse_args()
    data = load("digits")
    print(f"| objective | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for objective in arguments.objectives:
        found = np.array([measured(objective, seed, data) for seed in arguments.seeds])
        error = found.std(0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0 * found[0]
        cells = [f"{m:.2f} ± {e:.2f}" for m, e in zip(found.mean(0), error, strict=True)]
        print(f"| `{objective}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
