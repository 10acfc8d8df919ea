"""Names of the built-in networks, and the check that a user's own fit together."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from logvar.errors import LogvarError, unknown_name
from logvar.networks.images import ImageDecoder, ImageEncoder
from logvar.networks.layers import keys_of
from logvar.networks.mlp import MLPDecoder, MLPEncoder
from logvar.networks.tutorial import IMAGE, TutorialDecoder, TutorialEncoder

NETWORKS = ("mlp", "conv", "tutorial")
"""The names a recipe may use, beside "auto"."""

Network = Callable[..., object]


def choose(shape: tuple[int, ...]) -> str:
    """The network that "auto" stands for: convolutions for images of at least 16 × 16."""
    is_image = len(shape) in (2, 3) and min(shape[:2]) >= 16
    return "conv" if is_image else "mlp"


def build(
    name: str,
    shape: tuple[int, ...],
    latent_dim: int,
    hidden: tuple[int, ...],
    key: PRNGKeyArray,
    heads: int = 1,
) -> tuple[Network, Network]:
    """Build (encoder, decoder) for examples of this shape.

    With two heads the decoder's outputs have a first axis of 2: location and raw scale.

    Raises:
        LogvarError: the name is unknown, or the network cannot take this shape.
    """
    encoder_key, decoder_key = keys_of(key, 2)
    if name == "mlp":
        return (
            MLPEncoder(shape, latent_dim, hidden, key=encoder_key),
            MLPDecoder(shape, latent_dim, hidden, heads, key=decoder_key),
        )
    if name == "conv":
        if len(shape) not in (2, 3) or min(shape[:2]) < 8:
            raise LogvarError(
                f"network 'conv' got examples of shape {shape}: expected images (height, width) "
                "or (height, width, channels) of at least 8 × 8; reshape X, or use network='mlp'"
            )
        image = (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)
        return (
            ImageEncoder(image, latent_dim, key=encoder_key),
            ImageDecoder(image, shape, latent_dim, heads, key=decoder_key),
        )
    if name == "tutorial":
        if shape not in (IMAGE, IMAGE[:2], (28 * 28,)):
            raise LogvarError(
                f"network 'tutorial' got examples of shape {shape}: expected 28 × 28 images with "
                "one channel, as the tutorial has; use network='conv' for other sizes"
            )
        return (
            TutorialEncoder(latent_dim, key=encoder_key),
            TutorialDecoder(shape, latent_dim, heads, key=decoder_key),
        )
    raise unknown_name("network", name, NETWORKS)


def check_encoder(encoder: Network, shape: tuple[int, ...]) -> int:
    """Check that an encoder maps one example to (mean, raw); return the latent dimension.

    The example may also come out as one vector of 2·latent numbers, mean first.
    """
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        outputs = eqx.filter_eval_shape(encoder, x)
    except Exception as error:
        raise LogvarError(
            f"encoder failed on one example of shape {shape}: {_first_line(error)}; expected a "
            "module that takes one example, without batch axis, and returns (mean, raw)"
        ) from error
    if isinstance(outputs, (tuple, list)) and len(outputs) == 2:
        mean, raw = outputs
        if mean.shape == raw.shape and len(mean.shape) == 1:
            return mean.shape[0]
        got = f"shapes {mean.shape} and {raw.shape}"
    elif hasattr(outputs, "shape"):
        if len(outputs.shape) == 1 and outputs.shape[0] % 2 == 0:
            return outputs.shape[0] // 2
        got = f"one array of shape {outputs.shape}"
    else:
        got = type(outputs).__name__
    raise LogvarError(
        f"encoder returned {got} for one example of shape {shape}: expected (mean, raw), each of "
        "shape (latent,), or one array of shape (2·latent,)"
    )


def check_decoder(
    decoder: Network, shape: tuple[int, ...], latent_dim: int, heads: int = 1
) -> None:
    """Check that a decoder maps latents of shape (latent,) to outputs of the examples' shape.

    With two heads it returns (location, raw scale), or one array with a first axis of 2.
    """
    z = jax.ShapeDtypeStruct((latent_dim,), jnp.float32)
    try:
        outputs = eqx.filter_eval_shape(decoder, z)
    except Exception as error:
        raise LogvarError(
            f"decoder failed on latents of shape ({latent_dim},): {_first_line(error)}; expected a "
            f"module that takes one example's latents and returns outputs of shape {shape}"
        ) from error
    got: object
    if isinstance(outputs, (tuple, list)):
        shapes = tuple(getattr(output, "shape", type(output).__name__) for output in outputs)
        got, fits = shapes, heads == len(shapes) == 2 and set(shapes) == {shape}
    else:
        got = getattr(outputs, "shape", type(outputs).__name__)
        fits = got == (shape if heads == 1 else (heads, *shape))
    if not fits:
        expected = (
            f"one array of shape {shape}, the shape of one example"
            if heads == 1
            else f"(location, raw scale), each of shape {shape}, because the noise is per example"
        )
        raise LogvarError(
            f"decoder returned {got} for latents of shape ({latent_dim},): expected {expected}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
