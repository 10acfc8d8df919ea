"""Two facts about PyOD's VAE with its defaults, each printed from PyOD itself.

    benchmarks/anomalies/.venv/bin/python benchmarks/anomalies/pyod_facts.py

Its loss has `torch.clamp(kl, min=0, max=capacity)` with capacity=0.0, so the KL term is 0 whatever β is; a larger
capacity, which its users can pass, brings it back. And each call of decision_function draws z once, unseeded.
"""

import numpy as np
import torch
from pyod.models.vae import VAE, vae_loss
from scipy.stats import spearmanr

torch.manual_seed(0)
x, mean, log_variance = torch.randn(100, 5), 3 * torch.randn(100, 2), torch.randn(100, 2)
kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
defaults = VAE().get_params()
print(f"defaults: beta={defaults['beta']}, capacity={defaults['capacity']}")
print(f"KL of the codes: {kl:.2f} nats; what it adds to the loss (loss of x given x):")
for beta, capacity in ((1.0, defaults["capacity"]), (100.0, defaults["capacity"]), (1.0, 25.0)):
    loss = vae_loss(x, x, mean, log_variance, beta=beta, capacity=capacity)
    print(f"  beta={beta:g}, capacity={capacity:g}: {loss:.2f}")

X = np.random.default_rng(0).normal(size=(500, 5))
detector = VAE(verbose=0).fit(X)
first, second = detector.decision_function(X), detector.decision_function(X)
print(
    f"decision_function of the same 500 rows, called twice: largest difference {np.abs(first - second).max():.3f}"
)
print(
    f"  of scores with a standard deviation of {first.std():.3f}; rank correlation {spearmanr(first, second)[0]:.3f}"
)
