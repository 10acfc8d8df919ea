"""Recorded values of the TensorFlow tutorial, as arrays and as our networks."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from logvar import likelihoods, networks, posteriors, priors
from logvar.models.vae import VAEModel
from logvar.networks import Shapes

HERE = Path(__file__).parent
STEPS = np.load(HERE / "tutorial_steps_latent2.npz")
TRAINED = np.load(HERE / "tutorial_trained_latent2.npz")
IMAGES = np.load(HERE / "tutorial_images.npz")
LAYERS = {
    "encoder/conv0": lambda m: m.encoder.first,
    "encoder/conv1": lambda m: m.encoder.second,
    "encoder/dense": lambda m: m.encoder.head,
    "decoder/dense": lambda m: m.decoder.dense,
    "decoder/deconv0": lambda m: m.decoder.first,
    "decoder/deconv1": lambda m: m.decoder.second,
    "decoder/deconv2": lambda m: m.decoder.head,
}


def images(name: str) -> np.ndarray:
    return np.unpackbits(IMAGES[name], axis=1).reshape(-1, 28, 28, 1).astype(np.float32)


def tutorial_networks(latent_dim: int):
    shapes = Shapes((28, 28, 1), 2 * latent_dim, latent_dim, (28, 28, 1))
    return networks.get("tutorial").build(shapes, jax.random.key(0))


def model(prefix: str) -> VAEModel:
    """The tutorial's model with the recorded weights `initial/` or `after5/`."""
    encoder, decoder = tutorial_networks(2)
    built = VAEModel(
        encoder=encoder,
        decoder=decoder,
        prior=priors.get("standard"),
        likelihood=likelihoods.get("bernoulli"),
        posterior=posteriors.get("diagonal(scale=log-variance)"),
        latent_dim=2,
    )
    for name, layer in LAYERS.items():
        for part in ("kernel", "bias"):
            where = _part(layer, part)
            built = eqx.tree_at(where, built, jnp.asarray(STEPS[f"{prefix}{name}/{part}"]))
    return built


def _part(layer, part):
    return lambda m: getattr(layer(m), part)


def assert_close(got, expected):
    """The tolerance for intermediates and gradients: 1e-4 of the largest recorded value."""
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
