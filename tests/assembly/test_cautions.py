"""Lines that a fit tells after training."""

import numpy as np

import logvar

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
SETTINGS = {"latent_dim": 2, "network": "mlp(hidden=[4])", "likelihood": "normal"}


def test_a_fit_that_stopped_early_after_few_steps_says_so():
    """Patience counts epochs, and a small table has few steps in one."""
    told = []
    vae = logvar.VAE(**SETTINGS, patience=1, epochs=300, learning_rate=0.1)
    vae.fit(X, announce=told.append)
    assert vae.ended_ == "stopped early" and vae.n_iter_ < 300
    (line,) = [line for line in told if "which is soon" in line]
    assert f"after {vae.n_iter_:,} optimizer steps, as 6 held-out rows judged" in line
    told.clear()
    logvar.VAE(**SETTINGS, epochs=2).fit(X, announce=told.append)
    assert not any("which is soon" in line for line in told)
