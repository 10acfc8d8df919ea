"""A prior whose location and scale depend on what the model is told of an example."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from logvar import scales
from logvar.backend.compiling import from_host
from logvar.backend.ops import biased_silu
from logvar.backend.products import product
from logvar.distributions.multivariate import DiagonalNormal
from logvar.errors import LogvarError
from logvar.priors.base import Encode, EncoderInputs, Prior, PriorSpec
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES


class Conditional(PriorSpec):
    """p(z | c) = N(m(c), diag σ(c)²), with m and the raw values of σ linear in the condition c.

    c is the condition as the model reads it: 0s and a 1 for levels, standardized numbers. It starts
    at N(0, I), because the last map starts at 0: [m, raw] = h(c)·W + [0, the raw value of σ = 1].
    There is no intercept: encoder and decoder can take any common shift and factor of z, so that
    one here would say nothing. h(c) is c itself, or dense layers with SiLU.

    Args:
        hidden: widths of the layers of h, for effects of numbers that are not linear and of levels
            that do not add up. Without them a level has its own location and spread.
        scale: how raw values become σ(c).
    """

    is_conditional: ClassVar[bool] = True
    hidden: tuple[int, ...] = setting((), help="widths of hidden layers, such as [16]", at_least=1)
    scale: Scale = setting(scales.get("log-std"), help="how raw values become σ", part=SCALES)

    def build(
        self, latent_dim: int, key: PRNGKeyArray, inputs: EncoderInputs | None = None
    ) -> "ConditionalNormal":
        if inputs is None or not inputs.condition_size:
            raise LogvarError(
                "prior 'conditional' depends on a condition, and this model is told none: give "
                "condition=…, on the command line --condition NAME, or use another prior"
            )
        sizes = (inputs.condition_size, *self.hidden)
        drawn = jax.nn.initializers.glorot_uniform()
        layers = [
            (drawn(jax.random.fold_in(key, i), sizes[i : i + 2]), from_host(np.zeros(sizes[i + 1])))
            for i in range(len(self.hidden))
        ]
        last = from_host(np.zeros((sizes[-1], 2 * latent_dim)))
        return ConditionalNormal(layers, last, float(self.scale.raw(1.0)), self.scale)


class ConditionalNormal(Prior):
    """A conditional Normal with its weights."""

    is_conditional: ClassVar[bool] = True
    layers: list[tuple[Float[Array, "_ _"], Float[Array, "_"]]]
    """Kernel and bias of each hidden layer."""
    last: Float[Array, "features outputs"]
    """The map to m, and to what is added to the raw value of σ = 1."""
    start: float = eqx.field(static=True)
    scale: Scale = eqx.field()

    def given(
        self,
        latent_dim: int,
        encode: Encode | None,
        condition: Float[Array | np.ndarray, "size"] | None = None,
    ) -> DiagonalNormal:
        if condition is None:
            raise ValueError("p(z | condition) needs a condition: none")
        h = jnp.asarray(condition).astype(self.last.dtype)
        for kernel, bias in self.layers:
            h = biased_silu(product(h, kernel), bias)
        mean, raw = jnp.split(product(h, self.last), 2)
        return DiagonalNormal(mean, self.start + raw, self.scale)
