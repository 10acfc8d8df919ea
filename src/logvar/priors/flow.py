"""A prior that is an invertible network on N(0, I)."""

from typing import Any

from jaxtyping import PRNGKeyArray

from logvar import scales
from logvar.distributions.autoregressive import FlowDensity, Layers
from logvar.priors.base import Encode, EncoderInputs, Prior, PriorSpec
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES


class Flow(PriorSpec):
    """p(z) = N(f(z); 0, I)·|det df/dz|, f a masked autoregressive flow (Papamakarios et al. 2017).

    It can take any shape. A density costs one pass through f, a sample one pass per latent. The KL
    has no closed form. It starts close to N(0, I).

    Args:
        layers: affine autoregressive layers.
        width: hidden units of each layer.
        scale: how raw outputs become the layers' factors.
    """

    layers: int = setting(4, help="autoregressive layers", at_least=1)
    width: int = setting(64, help="hidden units of each layer", at_least=1)
    scale: Scale = setting(
        scales.get("floored(softplus, minimum=0.01)"),
        help="how raw outputs become the layers' factors",
        part=SCALES,
    )

    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "FlowPrior":
        width = max(self.width, latent_dim)  # each latent needs a unit that reads up to it
        return FlowPrior(Layers.drawn(key, latent_dim, self.layers, width, self.scale), self.scale)


class FlowPrior(Prior):
    """A flow with its weights."""

    flow: Layers
    scale: Scale

    def given(self, latent_dim: int, encode: Encode, condition: Any = None) -> FlowDensity:
        return FlowDensity(self.flow, self.scale, latent_dim)
