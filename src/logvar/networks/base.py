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
    """What a pair of networks has to fit."""

    example: Shape
    """Of one example as the encoder sees it."""
    encoder_outputs: int
    """Of all heads of the posterior together."""
    latent_dim: int
    outputs: Shape
    """Of the decoder's outputs: the example's, or with a first axis of heads."""

    def image_heads(self, network: str) -> int:
        """The number of heads of a decoder of images.

        Raises:
            LogvarError: the likelihood's outputs are no image.
        """
        if self.outputs == self.example:
            return 1
        if self.outputs[1:] == self.example:
            return self.outputs[0]
        raise LogvarError(
            f"network {network!r} makes outputs in the shape of an example, {self.example}, and "
            f"the likelihood needs {self.outputs}: use network='mlp'"
        )


class NetworkSpec(eqx.Module):
    """An encoder and a decoder as a recipe holds them: settings, and no arrays."""

    @abc.abstractmethod
    def build(self, shapes: Shapes, key: PRNGKeyArray) -> tuple[Network, Network]:
        """(encoder, decoder) with their weights as they start.

        The encoder returns the outputs of all heads as one vector.

        Raises:
            LogvarError: the network cannot take these shapes.
        """
