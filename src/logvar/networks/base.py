"""The contract of a pair of networks: a specification that builds encoder and decoder."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
from jaxtyping import PRNGKeyArray

from logvar.errors import LogvarError

Network = Callable[..., object]
Shape = tuple[int, ...]


class Shapes(NamedTuple):
    """The shapes that a pair of networks must fit."""

    example: Shape
    """The shape of one example as the encoder sees it."""
    encoder_outputs: int
    """The number of outputs of all heads of the posterior together."""
    latent_dim: int
    """The number of values that the decoder reads: the latents, and the condition if any."""
    outputs: Shape
    """The shape of the decoder's outputs: that of an example, or with a leading axis of heads."""
    modelled: Shape | None = None
    """The shape of x, where the encoder sees more than that: a mask, a condition."""

    @property
    def x(self) -> Shape:
        """The shape of x."""
        return self.example if self.modelled is None else self.modelled

    def image_heads(self, network: str) -> int:
        """Return the number of heads of a decoder of images.

        Raises:
            LogvarError: the likelihood's outputs are no image.
        """
        if self.outputs == self.x:
            return 1
        if self.outputs[1:] == self.x:
            return self.outputs[0]
        raise LogvarError(
            f"network {network!r} makes outputs in the shape of an example, {self.x}, and "
            f"the likelihood needs {self.outputs}: use network='mlp'"
        )


class NetworkSpec(eqx.Module):
    """An encoder and a decoder as stored in a recipe: settings, and no arrays."""

    @abc.abstractmethod
    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        """Return (encoder, decoder) with their initial weights.

        The encoder returns the outputs of all heads as one vector.

        Raises:
            LogvarError: the network cannot take these shapes.
        """
