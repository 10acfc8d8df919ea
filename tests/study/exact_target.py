"""Data whose optimum is known, and how near each scale comes to it.

python -m tests.study.exact_target

On linear-Gaussian data a linear VAE with fixed noise σ² has the optimum of probabilistic PCA (Tipping
& Bishop 1999; Lucas et al. 2019): with λ the eigenvalues of the covariance, posterior variance σ²/λ,
mean KL ½·log(λ/σ²), collapse of a latent exactly where λ ≤ σ², and an ELBO equal to log p(x).
"""

import functools

import numpy as np

import logvar
from logvar.evaluation.elbo import elbo_terms

EIGENVALUES = np.array([4.8, 1.8, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2])  # of a correlation matrix
NOISE = 0.5  # σ² in standardized units
LATENTS = 4
ABOVE = EIGENVALUES[EIGENVALUES > NOISE]
EXPECTED_KL = np.concatenate([0.5 * np.log(ABOVE / NOISE), np.zeros(LATENTS - len(ABOVE))])


def log_likelihood() -> float:
    """The mean of log p(x) under the best model, nats per row."""
    kept = np.maximum(EIGENVALUES, NOISE)
    return float(-0.5 * np.sum(np.log(2 * np.pi * kept) + EIGENVALUES / kept))


def linear_gaussian(rows: int = 1500) -> np.ndarray:
    """Rows whose covariance has these eigenvalues exactly, and whose features have variance 1."""
    rng = np.random.default_rng(0)
    features = len(EIGENVALUES)
    white = rng.normal(size=(rows, features))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / rows)).T
    # A Hadamard rotation gives every feature the mean of the eigenvalues as its variance: 1.
    hadamard = np.array([[1.0]])
    while len(hadamard) < features:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return ((white * np.sqrt(EIGENVALUES)) @ hadamard / np.sqrt(features)).astype(np.float32)


@functools.cache
def fitted(name: str, epochs: int = 300) -> logvar.VAE:
    """A linear VAE trained on these rows under a scale."""
    vae = logvar.VAE(
        latent_dim=LATENTS, network="mlp(hidden=[])", scale=name,
        likelihood=f"normal(noise=fixed, sigma={NOISE**0.5}, floor=0)",
        objective="elbo(samples=4)", epochs=epochs, batch_size=500, learning_rate=0.02,
        patience=0, validation_fraction=0,
    )  # fmt: skip
    return vae.fit(linear_gaussian())


def reached(vae: logvar.VAE) -> tuple[np.ndarray, np.ndarray, float]:
    """(KL of each latent from large to small, posterior variances of those above, mean ELBO)."""
    X = linear_gaussian()
    each = elbo_terms(vae.model_, X, vae.fitted_.preparation, 0, n_samples=50)
    variance = np.sort(np.asarray(vae.model_.scale.variance(each.raw)).mean(0))
    return np.sort(each.kl.mean(0))[::-1], variance[: len(ABOVE)], float(each.elbo.mean())


def main() -> None:
    print(f"exact: KL {np.round(EXPECTED_KL, 3)}, variance {np.round(NOISE / ABOVE, 3)}, ", end="")
    print(f"log p(x) {log_likelihood():.4f} nats")
    for name, entry in logvar.scales.REGISTRY.items():
        if entry.wraps:
            continue
        kl, variance, elbo = reached(fitted(name, epochs=1000))
        print(
            f"{name:<22} ELBO {elbo - log_likelihood():+.4f} nats from it, KL off by at most "
            f"{np.abs(kl - EXPECTED_KL).max():.3f}, variance by {np.abs(variance * ABOVE / NOISE - 1).max():.1%}, "
            f"{int((kl > 0.02).sum())} of {LATENTS} latents used",
            flush=True,
        )


if __name__ == "__main__":
    main()
