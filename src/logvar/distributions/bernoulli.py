"""Binary features, and intensities read as probabilities."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.ops import bernoulli_log_prob
from logvar.distributions.likelihood import Example, Likelihood, Outputs
from logvar.scales.numerics import softplus


class Bernoulli(Likelihood):
    """Binary features, or intensities in [0, 1]; the outputs are logits.

    log p(x | l) = x·l − log(1 + e^l). For x strictly between 0 and 1 this is the cross-entropy
    that people train on, not a normalized density.
    """

    def log_prob(self, x: Example, outputs: Outputs) -> Example:
        return x * outputs - softplus(outputs)

    def total(self, x: Example, outputs: Outputs) -> Float[Array, ""]:
        return bernoulli_log_prob(x, outputs)

    def mean(self, outputs: Outputs) -> Example:
        return jax.nn.sigmoid(outputs)

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> Example:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)
