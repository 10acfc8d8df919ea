"""The VampPrior: a mixture of the encoder's posteriors of learned pseudo-inputs."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.aggregate import Aggregate
from logvar.errors import LogvarError
from logvar.priors.base import Encode, EncoderInputs, Prior, PriorSpec
from logvar.registry import setting

_INSIDE = 0.02
"""How far inside (0, 1) intensities start, where the sigmoid still has a slope of 0.02."""


class Vamp(PriorSpec):
    """p(z) = (1/K)·Σ q(z | u_k), u_k learned (Tomczak & Welling 2018, arXiv 1705.07120).

    The pseudo-inputs u_k live where the encoder reads: after one-hot coding and standardization,
    with every cell observed. They start at K training rows that the seed chooses. Where the encoder
    reads intensities they are sigmoids, so that they stay pictures; otherwise they are free, since
    any input of the encoder has a posterior. They are encoded once per batch. The KL has no closed
    form. Goes with every posterior family.

    Args:
        components: K, at most the number of training rows.
    """

    components: int = setting(100, help="pseudo-inputs; at most the training rows", at_least=1)
    support: ClassVar[str | None] = None
    reads_encoder: ClassVar[bool] = True

    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "VampPrior":
        if inputs is None:
            raise LogvarError(
                "prior 'vamp' starts at training rows, and none were given: build the model from "
                "data, as VAE.fit does"
            )
        inputs.check("vamp", self.components)
        if inputs.rows is None:
            start = jnp.zeros((self.components, *inputs.shape))
        else:
            start = inputs.rows(self.components)
        if inputs.intensities:
            start = jax.scipy.special.logit(jnp.clip(start, _INSIDE, 1 - _INSIDE))
        return VampPrior(start, inputs.intensities)


class VampPrior(Prior):
    """A VampPrior with its pseudo-inputs."""

    support: ClassVar[str | None] = None
    reads_encoder: ClassVar[bool] = True
    raw: Float[Array, "components ..."]
    """The pseudo-inputs, or their logits if they are intensities."""
    intensities: bool = eqx.field(static=True)

    @property
    def pseudo_inputs(self) -> Float[Array, "components ..."]:
        """u_k, as the encoder reads them."""
        return jax.nn.sigmoid(self.raw) if self.intensities else self.raw

    def given(self, latent_dim: int, encode: Encode, condition: Any = None) -> Aggregate:
        return Aggregate(jax.vmap(encode.code)(self.pseudo_inputs), encode.density)
