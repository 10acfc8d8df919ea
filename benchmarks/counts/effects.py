"""Counts with a condition of known effect: does a fit find it?

    .venv/bin/python benchmarks/counts/effects.py

4,000 rows × 12 features in two batches: z ~ N(0, 1) in both, log m linear in z (means from 3 to 40), and in the second batch each feature's
mean is multiplied by a factor of its own, from 1/4 to 4. The effect that is found is the mean over z of log m given the second batch, less
that given the first. Its error is that of the best estimate which knows z and θ: √(1/I₁ + 1/I₂), I = Σ m/(1 + m/θ) over a batch's rows.
"""

import argparse

import numpy as np

import logvar

FEATURES, THETA = 12, 5.0


def table(rows, seed):
    rng = np.random.default_rng(seed)
    z, second = rng.normal(size=rows), rng.random(rows) < 0.4
    base, slope = np.linspace(np.log(3), np.log(40), FEATURES), rng.normal(0, 0.4, FEATURES)
    effect = rng.permutation(np.linspace(-np.log(4), np.log(4), FEATURES))
    mean = np.exp(rng.permutation(base) + z[:, None] * slope + second[:, None] * effect)
    x = rng.poisson(mean * rng.gamma(THETA, 1 / THETA, mean.shape)).astype(np.float32)
    return x, np.where(second, "second", "first"), mean, effect


def error_of_effect(mean, batch):
    known = mean / (1 + mean / THETA)
    return np.sqrt(sum(1 / known[batch == name].sum(0) for name in ("first", "second")))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, batch, mean, effect = table(options.rows, options.seed)
    error = error_of_effect(mean, batch)
    z = np.random.default_rng(1).normal(size=(4000, 1)).astype(np.float32)
    print(
        "| prior | mean of (found − true)/error | its spread | largest | largest error of the factor |"
    )
    print("|---|---|---|---|---|")
    for prior in ("standard", "conditional"):
        vae = logvar.VAE(
            latent_dim=1, network="mlp(hidden=[32])", prior=prior,
            likelihood="negative-binomial(library=none)", epochs=options.epochs,
            learning_rate="cosine(5e-3)", validation_fraction=0.0, random_state=options.seed,
        ).fit(x, condition={"batch": batch})  # fmt: skip
        logs = []
        for name in ("first", "second"):
            told = {"batch": name}
            # Under p(z | batch), z of the batch; under N(0, I), the same z for both.
            at = z
            if prior == "conditional":
                p = vae.model_.prior.given(1, None, vae.fitted_.told(told, 1)[0])
                at = np.asarray(p.mean + p.each.sigma * z)
            logs.append(np.log(vae.inverse_transform(at, condition=told)).mean(0))
        off = logs[1] - logs[0] - effect
        score = off / error
        print(
            f"| {prior} | {score.mean():+.2f} | {score.std():.2f} | {np.abs(score).max():.2f} | "
            f"{np.abs(np.expm1(off)).max():.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
