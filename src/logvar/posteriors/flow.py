"""A diagonal Normal, then an inverse autoregressive flow on a context from the encoder."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from logvar.distributions.autoregressive import FlowOfNormal, Layers
from logvar.errors import LogvarError
from logvar.posteriors.base import Code, Posterior, scale_setting
from logvar.registry import setting
from logvar.scales import Scale


class Flow(Posterior):
    """z = f(μ + σ ⊙ ε; context), f an inverse autoregressive flow (Kingma et al. 2016, 1606.04934).

    It can take any shape. A draw with its log q costs one pass through f; log q of another z, as
    `vamp` and the gradients stl and dreg need it, one pass per latent. The KL has no closed form.
    It starts close to its diagonal counterpart. The embedding of x is f(μ; context), which is not
    the posterior mean.

    Args:
        layers: affine autoregressive layers.
        width: hidden units of each layer.
        context: encoder outputs that every layer reads.
        scale: how raw outputs become σ and the layers' factors.
    """

    layers: int = setting(2, help="autoregressive layers", at_least=1)
    width: int = setting(64, help="hidden units of each layer", at_least=1)
    context: int = setting(16, help="encoder outputs that every layer reads", at_least=1)
    scale: Scale = scale_setting()

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {"mean": latent_dim, "raw": latent_dim, "context": self.context}

    def build(self, latent_dim: int, key: PRNGKeyArray) -> "FlowPosterior":
        width = max(self.width, latent_dim)  # each latent needs a unit that reads up to it
        layers = Layers.drawn(key, latent_dim, self.layers, width, self.scale, self.context)
        return FlowPosterior(flow=layers, scale=self.scale)

    def distribution(self, code: Code) -> FlowOfNormal:
        raise LogvarError("posterior 'flow' has weights: call build(latent_dim, key) first")


class FlowPosterior(Posterior):
    """A flow with its weights."""

    flow: Layers
    scale: Scale

    def heads(self, latent_dim: int) -> dict[str, int]:
        return {
            "mean": latent_dim,
            "raw": latent_dim,
            "context": self.flow.context.shape[-1],
        }

    def distribution(self, code: Code) -> FlowOfNormal:
        return FlowOfNormal(code["mean"], code["raw"], code["context"], self.flow, self.scale)

    def embedding(self, code: Code) -> Any:
        """Return f(μ; context)."""

        def moved(mean: Any, context: Any) -> Any:
            return self.flow.transform(mean, self.scale, context)[0]

        return jnp.vectorize(moved, signature="(d),(c)->(d)")(code["mean"], code["context"])
