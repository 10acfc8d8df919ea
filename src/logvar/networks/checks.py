"""Checks that a user's own networks fit the data, the posterior and the likelihood."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from logvar.errors import LogvarError
from logvar.networks.base import Network, Shape

Heads = Callable[[int], Mapping[str, int]]
"""The number of outputs of each head of the posterior, by the number of latents."""


def check_encoder(encoder: Network, shape: Shape, heads: Heads) -> int:
    """Check that an encoder maps one example to the posterior's outputs; return latent_dim.

    They are a tuple or a dict by head, mean first, or one vector of all.

    Raises:
        LogvarError: the encoder fails, or returns something else.
    """
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    names = ", ".join(heads(1))
    try:
        outputs: Any = eqx.filter_eval_shape(encoder, x)
    except Exception as error:
        raise LogvarError(
            f"encoder failed on one example of shape {shape}: {_first_line(error)}; expected a "
            f"module that takes one example, without batch axis, and returns ({names})"
        ) from error
    found = _latent_dim(outputs, heads)
    if found is not None:
        return found
    if isinstance(outputs, (tuple, list)):
        got = "shapes " + " and ".join(str(getattr(o, "shape", type(o).__name__)) for o in outputs)
    elif hasattr(outputs, "shape"):
        got = f"one array of shape {outputs.shape}"
    else:
        got = type(outputs).__name__
    sizes = heads(2)
    if set(sizes) == {"mean", "raw"}:
        expected = "(mean, raw), each of shape (latent,), or one array of shape (2·latent,)"
    else:
        example = ", ".join(f"{name} ({size},)" for name, size in sizes.items())
        expected = f"({names}), for 2 latents of shapes {example}, or one array of all"
    raise LogvarError(
        f"encoder returned {got} for one example of shape {shape}: expected {expected}"
    )


def _latent_dim(outputs: Any, heads: Heads) -> int | None:
    """Return the number of latents for which an encoder's outputs have the right shapes."""
    if isinstance(outputs, dict):
        outputs = [outputs[name] for name in heads(1) if name in outputs]
    if isinstance(outputs, (tuple, list)):
        shapes = [getattr(output, "shape", None) for output in outputs]
        if not shapes or shapes[0] is None or len(shapes[0]) != 1:
            return None
        found = shapes[0][0]
        return found if shapes == [(size,) for size in heads(found).values()] else None
    if not hasattr(outputs, "shape") or len(outputs.shape) != 1:
        return None
    size = outputs.shape[0]
    fitting = (n for n in range(1, size + 1) if sum(heads(n).values()) >= size)
    found = next(fitting, 0)
    return found if found and sum(heads(found).values()) == size else None


def check_decoder(decoder: Network, latent_dim: int, expected: Shape, shape: Shape) -> None:
    """Check that a decoder maps latents of shape (latent,) to the likelihood's outputs.

    With two heads it returns (location, raw scale), or one array with a first axis of 2.

    Args:
        decoder: the decoder to check.
        latent_dim: the number of latents.
        expected: the shape of the outputs.
        shape: the shape of one example.

    Raises:
        LogvarError: the decoder fails, or returns something else.
    """
    z = jax.ShapeDtypeStruct((latent_dim,), jnp.float32)
    try:
        outputs: Any = eqx.filter_eval_shape(decoder, z)
    except Exception as error:
        raise LogvarError(
            f"decoder failed on latents of shape ({latent_dim},): {_first_line(error)}; expected a "
            f"module that takes one example's latents and returns outputs of shape {shape}"
        ) from error
    got: object
    two = expected == (2, *shape)
    if isinstance(outputs, (tuple, list)):
        shapes = tuple(getattr(output, "shape", type(output).__name__) for output in outputs)
        got, fits = shapes, two and len(shapes) == 2 and set(shapes) == {shape}
    else:
        got = getattr(outputs, "shape", type(outputs).__name__)
        fits = got == expected
    if fits:
        return
    wanted = f"one array of shape {expected}"
    if expected == shape:
        wanted += ", the shape of one example"
    elif two:
        wanted = f"(location, raw scale), each of shape {shape}, because the noise is per example"
    raise LogvarError(
        f"decoder returned {got} for latents of shape ({latent_dim},): expected {wanted}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
