"""Recorded values of the TensorFlow tutorial, as arrays and as our networks."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from logvar.distributions.bernoulli import Bernoulli
from logvar.distributions.priors import StandardNormal
from logvar.model import Model

import logvar
from logvar.networks import registry

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


def model(prefix: str) -> Model:
    """The tutorial's model with the recorded weights `initial/` or `after5/`."""
    encoder, decoder = registry.build("tutorial", (28, 28, 1), 2, (), jax.random.key(0))
    built = Model(
        encoder, decoder, StandardNormal(), Bernoulli(), logvar.scales.get("log-variance")
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
