"""Binary features, and intensities read as probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.likelihood import Example, Likelihood, Outputs
from logvar.native import bernoulli as native
from logvar.scales.numerics import folded, softplus, sum_of_softplus


class Bernoulli(Likelihood):
    """Binary features, or intensities in [0, 1]; the outputs are logits.

    log p(x | l) = x·l − log(1 + e^l). For x strictly between 0 and 1 this is the cross-entropy
    that people train on, not a normalized density.
    """

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        return x * outputs - softplus(outputs)

    def total(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        if native.suits(x, outputs):
            return native.total(x, outputs)
        return jnp.sum(folded(x * outputs)) - sum_of_softplus(outputs)

    def mean(self, outputs: Outputs) -> Example:
        return jax.nn.sigmoid(outputs)

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)
