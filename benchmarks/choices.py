"""What each objective, prior or posterior does to a model: fit, use of the latents, dependence, time.

    .venv/bin/python benchmarks/choices.py objective --seeds 0 1 2
    .venv/bin/python benchmarks/choices.py prior posterior --only vamp flow
    LOGVAR_DATA=FOLDER .venv/bin/python benchmarks/choices.py objective --data mnist

digits: scikit-learn's, 1,500 to train on and the other 297 to measure on (real intensities, Bernoulli), an MLP of
64 units, ten latents, 60 epochs. mnist: 10,000 training and 1,000 test images, binarized once by draws of seed 0, an
MLP of 256 units, 16 latents, 10 epochs. Adam at 1e-3, batches of 128, nothing stops early, nothing is tuned.

log p(x) by 100 importance samples and the ELBO, nats per example; active latents (variance of the posterior mean
above 0.01); the total correlation of q(z), nats, exact for the mixture of 1,500 posteriors but for one draw
from each, for diagonal posteriors; processor time of an epoch over that of the first row. Means over seeds ± standard
errors. "against" is the difference of log p(x) from the first row, seed by seed (one split, one order), with a 95 %
interval by Student's t.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.special import logsumexp

import logvar
from logvar.data.sources import load
from logvar.models.batch import Batch
from logvar.training.pace import Pace

CHOICES = {
    "objective": (
        "elbo", "elbo(beta=4)", "elbo(warmup=20)", "elbo(free_bits=0.1)",
        "elbo(capacity=10, warmup=20)", "iwae(samples=5)", "iwae(samples=5, gradient=dreg)",
        "miwae(outer=2, inner=5)", "piwae(outer=2, inner=5)", "ciwae(samples=5)",
        "renyi(samples=5)", "beta-tc", "dip", "mmd", "mmd(beta=0, weight=100)", "factor",
    ),
    "prior": (
        "standard", "mixture(components=10)", "vamp(components=50)", "flow",
    ),
    "posterior": ("diagonal", "low-rank(rank=2)", "full", "flow"),
}  # fmt: skip
COLUMNS = ("log p(x)", "against", "ELBO", "active", "TC", "time")
SETTINGS = {
    "digits": {"latent_dim": 10, "network": "mlp(hidden=[64])", "epochs": 60},
    "mnist": {"latent_dim": 16, "network": "mlp(hidden=[256])", "epochs": 10},
}


class Timed(Pace):
    """Notes the processor time at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_epoch(self, metrics, state):
        super().on_epoch(metrics, state)
        self.ends.append(time.process_time())


def rows_of(data):
    if data == "digits":
        digits = load("digits")
        return digits.train, digits.test
    from data import mnist

    rng = np.random.default_rng(0)
    train, test = (images.reshape(len(images), 784) for images in mnist())
    return tuple(
        (rng.random((n, 784)) < images[:n] / 255).astype(np.float32)
        for images, n in ((train, 10_000), (test, 1_000))
    )


def total_correlation(vae, rows, seed):
    codes = jax.vmap(vae.model_.encode)(Batch(jnp.asarray(rows[:1_500], jnp.float32)))
    if set(codes) != {"mean", "raw"}:
        return np.nan
    mean, raw = (np.asarray(codes[name], float) for name in ("mean", "raw"))
    sigma = np.asarray(vae.model_.scale.sigma(raw.astype(np.float32)), float)
    z = mean + sigma * np.random.default_rng(seed).normal(size=mean.shape)
    log_q = stats.norm.logpdf(z[:, None], mean, sigma)  # draw, row, latent
    joint = logsumexp(log_q.sum(-1), axis=1)
    marginals = logsumexp(log_q, axis=1).sum(-1)
    return float(np.mean(joint - marginals) + (mean.shape[1] - 1) * np.log(len(mean)))


def measured(kind, choice, seed, data):
    train, test = rows_of(data)
    watcher = Timed()
    vae = logvar.VAE(
        **SETTINGS[data], **{kind: choice}, likelihood="bernoulli", validation_fraction=0.0,
        patience=0, random_state=seed,
    ).fit(train, watcher=watcher)  # fmt: skip
    return {
        "log p(x)": float(vae.score_samples(test, n_samples=100).mean()),
        "ELBO": float(vae.elbo(test).mean()),
        "active": float(np.sum(vae.transform(test).var(axis=0) > 0.01)),
        "TC": total_correlation(vae, train, seed),
        "time": float(np.median(np.diff(watcher.ends))),
    }


def row(found, first):
    """Return the cells of a choice from its figures of each seed and those of the first choice."""
    values = {name: np.array([each[name] for each in found]) for name in found[0]}
    base = np.array([each["log p(x)"] for each in first])
    error = {
        name: np.std(of, ddof=1) / np.sqrt(len(of)) if len(of) > 1 else np.nan
        for name, of in {**values, "against": values["log p(x)"] - base}.items()
    }
    cells = {
        name: "—" if np.isnan(of).all() else f"{of.mean():.2f} ± {error[name]:.2f}"
        for name, of in values.items()
    }
    difference = np.mean(values["log p(x)"] - base)
    half = error["against"] * stats.t.ppf(0.975, max(1, len(base) - 1))
    cells["against"] = (
        ""
        if found is first
        else f"{difference:+.2f} [{difference - half:+.2f}, {difference + half:+.2f}]"
    )
    cells["time"] = f"{np.median(values['time']) / np.median([each['time'] for each in first]):.1f}"
    return [cells[name] for name in COLUMNS]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="+", choices=CHOICES)
    parser.add_argument("--data", choices=SETTINGS, default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="parts by name, beside the first of each kind")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        choices = [
            choice
            for i, choice in enumerate(CHOICES[kind])
            if not i or arguments.only is None or choice.split("(")[0] in arguments.only
        ]
        print(f"| {kind} | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
        first = None
        for choice in choices:
            found = [measured(kind, choice, seed, arguments.data) for seed in arguments.seeds]
            first = first or found
            print(f"| `{choice}` | {' | '.join(row(found, first))} |", flush=True)


if __name__ == "__main__":
    main()
