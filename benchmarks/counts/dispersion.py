"""Counts of known dispersion: does a fit find it?

    .venv/bin/python benchmarks/counts/dispersion.py
    .venv/bin/python benchmarks/counts/dispersion.py --known      # the same densities, fitted with z known, without a VAE

5,000 rows × 24 features: z ~ N(0, 1), log m linear in z (means from 2 to 60), and counts of mean m and variance m + m²/θ with θ from 0.5 to
30, some of them left out with a probability of 0.3 for the zero-inflated ones. Each fit has one latent.

Two errors of log θ are known from the true densities, both 1/√information, with squared slopes of log p summed over the rows. The first is
that of an estimate which knows the means, and the probability of a zero. The second is that of an estimate which knows z alone: it learns
for each feature that log m is linear in z, and so is the logit of a zero, where there is one. A fit has to infer z as well.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

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
    x = np.where(rng.random(x.shape) < zeros, 0, x).astype(np.float32)
    return x, z[:, 0], mean, theta


def log_prob(values, count, z, zeros):
    """log p of one count at (log θ, log m at z = 0, its slope, the logit of a zero, its slope)."""
    log_theta, base, slope, logit, tilt = values
    m, t = (Positive(jnp.exp(log), log) for log in (base + slope * z, log_theta))
    each = negative_binomial_log_prob(count, m, t)
    if not zeros:
        return each
    at_zero = negative_binomial_log_prob_zero(m, t)
    return zero_inflated_log_prob(count, each, at_zero, logit + tilt * z)


def found_with_z_known(x, z, zeros):
    """The most probable log θ of each feature."""

    def loss(values, counts):
        return -jax.vmap(lambda count, at: log_prob(values, count, at, zeros))(counts, z).sum()

    both, found = jax.jit(jax.value_and_grad(loss)), []
    for counts in x.T.astype(float):
        start = np.array([1.0, np.log(counts[counts > 0].mean()), 0.0, -1.0, 0.0])
        found.append(
            minimize(
                lambda values, counts=counts: [np.asarray(a, float) for a in both(values, counts)],
                start, jac=True, method="L-BFGS-B", options={"maxiter": 500},
            ).x[0]
        )  # fmt: skip
    return np.array(found)


def errors_of_log_theta(x, z, mean, theta, zeros):
    """1/√information of each feature's log θ: with all else known, and with z alone known."""
    slope = (np.log(mean[1]) - np.log(mean[0])) / (z[1] - z[0])
    base = np.log(mean[0]) - z[0] * slope
    logit = np.full(FEATURES, np.log(zeros / (1 - zeros)) if zeros else 0.0)
    known = np.stack([np.log(theta), base, slope, logit, np.zeros(FEATURES)])
    slopes_of = jax.grad(lambda values, count, at: log_prob(values, count, at, zeros))
    of_rows = jax.jit(jax.vmap(slopes_of, in_axes=(None, 0, 0)))
    found = []
    for j in range(FEATURES):
        slopes = of_rows(jnp.asarray(known[:, j]), jnp.asarray(x[:, j], float), jnp.asarray(z))
        information = np.asarray(slopes, float)[:, : 5 if zeros else 3]
        information = information.T @ information
        found.append((information[0, 0] ** -0.5, np.linalg.inv(information)[0, 0] ** 0.5))
    return np.array(found).T


def found_by_a_vae(x, name, options):
    with jax.enable_x64(False):
        vae = logvar.VAE(
            latent_dim=1, network=options.network, likelihood=f"{name}(library=none)",
            objective=options.objective, epochs=options.epochs, learning_rate="cosine(5e-3)",
            validation_fraction=0.0, random_state=options.seed,
        ).fit(x)  # fmt: skip
        dispersion = vae.model_.likelihood.dispersion
        return np.log(np.asarray(dispersion.scale.sigma(dispersion.raw), float))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", default="mlp(hidden=[32])")
    parser.add_argument("--objective", default="elbo")
    parser.add_argument("--known", action="store_true", help="fit θ with z known, without a VAE")
    parser.add_argument("--verbose", action="store_true", help="print each feature")
    options = parser.parse_args()
    print(
        "| | mean of (log θ̂ − log θ)/error | its spread | largest | spread, z alone known | "
        "largest | largest error of θ |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, zeros in (("negative-binomial", 0.0), ("zero-inflated-negative-binomial", 0.3)):
        x, true_z, mean, theta = table(options.rows, options.seed, zeros)
        with jax.enable_x64(True):
            if options.known:
                off = found_with_z_known(x, jnp.asarray(true_z), zeros) - np.log(theta)
            else:
                off = found_by_a_vae(x, name, options) - np.log(theta)
            by_means, by_z = off / errors_of_log_theta(x, true_z, mean, theta, zeros)
        print(
            f"| {name} | {by_means.mean():+.2f} | {by_means.std():.2f} | "
            f"{np.abs(by_means).max():.2f} | {by_z.std():.2f} | {np.abs(by_z).max():.2f} | "
            f"{np.abs(np.expm1(off)).max():.1%} |",
            flush=True,
        )
        if options.verbose:
            print(np.round(np.stack([theta, np.expm1(off), by_means, by_z]).T, 3))


if __name__ == "__main__":
    main()
