"""Counts of known dispersion: does a fit find it?

    .venv/bin/python benchmarks/counts/dispersion.py

5,000 rows × 24 features: z ~ N(0, 1), log m linear in z (means from 2 to 60), and counts of mean m and variance m + m²/θ with θ from 0.5 to
30, some of them left out with a probability of 0.3 for the zero-inflated ones. Each fit has one latent. The error of log θ
is that of the best estimate which knows the means: 1/√information, the information being the mean of squared slopes of log p in log θ over
the rows, with the true means. A fit has to infer z, so it can be somewhat less certain than that.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import logvar
from logvar.distributions.counts import (
    Positive,
    negative_binomial_log_prob,
    negative_binomial_log_prob_zero,
    zero_inflated_log_prob,
)

FEATURES = 24


def table(rows, seed, zeros=0.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 1))
    base, slope = np.linspace(np.log(2), np.log(60), FEATURES), rng.normal(0, 0.4, FEATURES)
    mean = np.exp(rng.permutation(base) + z * slope)
    theta = np.geomspace(0.5, 30, FEATURES)
    x = rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape))
    return np.where(rng.random(x.shape) < zeros, 0, x).astype(np.float32), mean, theta


def error_of_log_theta(x, mean, theta, zeros):
    """1/√information of each feature's log θ."""
    m = Positive(jnp.asarray(mean, jnp.float32), jnp.log(jnp.asarray(mean, jnp.float32)))

    def log_p(log_theta):
        t = Positive(jnp.exp(log_theta), log_theta)
        each = negative_binomial_log_prob(jnp.asarray(x), m, t)
        if not zeros:
            return each.sum(), each
        logit = jnp.full(each.shape, np.log(zeros / (1 - zeros)), jnp.float32)
        at_zero = negative_binomial_log_prob_zero(m, t)
        each = zero_inflated_log_prob(jnp.asarray(x), each, at_zero, logit)
        return each.sum(), each

    full = jnp.broadcast_to(jnp.log(jnp.asarray(theta, jnp.float32)), x.shape)
    slopes = np.asarray(jax.grad(log_p, has_aux=True)(full)[0], float)
    return 1 / np.sqrt(np.sum(slopes**2, 0))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| | mean of (log θ̂ − log θ)/error | its spread | largest | largest error of θ |")
    print("|---|---|---|---|---|")
    for name, zeros in (("negative-binomial", 0.0), ("zero-inflated-negative-binomial", 0.3)):
        x, mean, theta = table(options.rows, options.seed, zeros)
        vae = logvar.VAE(
            latent_dim=1, network="mlp(hidden=[32])", likelihood=f"{name}(library=none)",
            epochs=options.epochs, learning_rate="cosine(5e-3)", validation_fraction=0.0,
            random_state=options.seed,
        ).fit(x)  # fmt: skip
        dispersion = vae.model_.likelihood.dispersion
        found = np.asarray(dispersion.scale.sigma(dispersion.raw), float)
        off = np.log(found / theta)
        z = off / error_of_log_theta(x, mean, theta, zeros)
        print(
            f"| {name} | {z.mean():+.2f} | {z.std():.2f} | {np.abs(z).max():.2f} | "
            f"{np.abs(np.expm1(off)).max():.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
