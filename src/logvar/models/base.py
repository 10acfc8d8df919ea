"""The contract of a model: everything that objectives, evaluation and training use of it."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from logvar.distributions.base import Distribution, Groups, Latents, total
from logvar.likelihoods.base import Likelihood, Outputs
from logvar.models.batch import Batch

Condition = Float[Array | np.ndarray, "size"]
"""The condition of an example: levels as 0 and 1, and numbers."""

Code = Any
"""The encoder's outputs for an example: a pytree that only its model interprets."""


class Trace(NamedTuple):
    """One draw of z for one example, in nats; or many, with leading axes."""

    z: Latents
    outputs: Outputs
    """The decoder's outputs."""
    log_q: Groups
    """log q(z | x) in groups."""
    log_p: Groups
    """log p(z) in groups: as many as `log_q` if both factor, otherwise one each."""
    closed_kl: Groups | None
    """KL(q(z | x) ‖ p(z)) in closed form, or None if there is none."""

    def kl(self, analytic: bool) -> Float[Array, "*batch groups"]:
        """Return the KL in groups: closed form if requested and known, otherwise log q − log p."""
        if analytic and self.closed_kl is not None:
            return self.closed_kl
        return self.log_q - self.log_p


class Terms(NamedTuple):
    """The two terms of an ELBO: log p(x | z), and the KL in groups, nats."""

    log_likelihood: Float[Array, "..."]
    kl: Float[Array, "... groups"]
    statistic: Float[Array, "..."] | None = None
    """The statistic that a closed-form noise is fitted to, if there is one."""

    @property
    def elbo(self) -> Float[Array, "..."]:
        """log p(x | z) − Σ KL, at β = 1."""
        return self.log_likelihood - total(self.kl)


class Model(eqx.Module):
    """p(x, z) with a posterior q(z | x), on one example."""

    likelihood: eqx.AbstractVar[Likelihood]

    @abc.abstractmethod
    def noise_like(self) -> PyTree:
        """Return the noise for one draw of z: a tree of `randomness.Gaussian` and `.Key`."""

    @abc.abstractmethod
    def encode(self, example: Batch) -> Code:
        """Return the encoder's outputs for one example."""

    @abc.abstractmethod
    def prior_given(self, condition: Condition | None = None) -> Any:
        """Return the prior that the examples of a batch share, computed once for all of them.

        With a condition, return the prior of an example that has it. If the prior depends on the
        condition, examples share nothing, so that None is returned without one; `trace` then
        computes the prior of its example.
        """

    @abc.abstractmethod
    def draw(self, code: Code, noise: PyTree) -> Latents:
        """Draw z of one example, as a differentiable function of its code and noise."""

    def density(self, code: Code) -> Any:
        """Return q(z | x) from the code of x, for objectives that compare the posteriors of rows.

        A model whose latents have several levels has no such density.
        """
        raise NotImplementedError(f"{type(self).__name__} has no single posterior density")

    @abc.abstractmethod
    def trace(self, example: Batch, code: Code, noise: PyTree, prior: Any) -> Trace:
        """Draw z for one example, decode it, and compute its densities."""

    @abc.abstractmethod
    def trace_at(self, example: Batch, code: Code, z: Latents, prior: Any) -> Trace:
        """Do the same at a given z; `trace` has the more accurate log q for narrow posteriors."""

    @abc.abstractmethod
    def sample_latents(self, key: PRNGKeyArray, condition: Condition | None = None) -> Latents:
        """Draw z from the prior."""

    @abc.abstractmethod
    def decode(self, z: Latents, condition: Condition | None = None) -> Outputs:
        """Return the decoder's outputs for one example's latents, and its condition if any."""

    @abc.abstractmethod
    def embedding(self, code: Code) -> Any:
        """Return the embedding of an example, or of each row if the code has many."""

    @property
    def hidden(self) -> str:
        """The variable that the model sums out, as formulas name it."""
        return "z"

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the fields that hold networks."""
        return "encoder", "decoder"

    @property
    def has_missing(self) -> bool:
        """Whether the training rows have missing cells."""
        return False

    @property
    @abc.abstractmethod
    def groups(self) -> int:
        """The number of groups of the KL: one per latent if densities factor, otherwise 1."""

    @property
    @abc.abstractmethod
    def has_closed_kl(self) -> bool:
        """Whether KL(q ‖ p) has a closed form."""

    def mean(self, z: Latents, condition: Condition | None = None) -> Any:
        """Return E[x | z], in the units that the model sees x in."""
        return self.likelihood.mean(self.decode(z, condition))

    def representative(self, code: Code) -> Code:
        """Return the code that stands for an example in embeddings and summaries: its own, or that
        of the most probable label."""
        return code

    def reconstructed(self, example: Batch, code: Code) -> Outputs:
        """Return the decoder's outputs at an example's embedding."""
        return self.decode(self.embedding(code), example.condition)

    def reconstruction(self, example: Batch, code: Code) -> Any:
        """Return E[x | z] at the posterior mean of an example, with what its row itself tells."""
        likelihood = self.likelihood.given(example.x, example.observed)
        return likelihood.mean(self.reconstructed(example, code))

    def terms(
        self, example: Batch, code: Code, noise: PyTree, prior: Any, analytic_kl: bool
    ) -> Terms:
        """Return the terms of the ELBO for one example, its code and one draw of noise."""
        trace = self.trace(example, code, noise, prior)
        log_likelihood = self.likelihood.total(example.x, trace.outputs, example.observed)
        return Terms(log_likelihood, trace.kl(analytic_kl))

    def log_weight(self, example: Batch, code: Code, noise: PyTree, prior: Any) -> Float[Array, ""]:
        """Return log w, where E[w] over the noise is p(x): log p(x, z) − log q(z | x)."""
        return self.terms(example, code, noise, prior, analytic_kl=False).elbo


def in_groups(
    q: Distribution,
    log_q: Float[Array, "groups_of_q"],
    p: Distribution,
    log_p: Float[Array, "groups_of_p"],
) -> tuple[Groups, Groups]:
    """Return both log-densities in the same groups: one each, unless both factor by latents."""
    if q.by_latent and p.by_latent:
        return log_q, log_p
    return jnp.sum(log_q, keepdims=True), jnp.sum(log_p, keepdims=True)
