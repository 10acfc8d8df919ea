"""A VAE with a label: p(y)·p(z)·p(x | z, y), and q(y | x)·q(z | x, y).

This is model M2 of Kingma et al. 2014 (arXiv 1406.5298). Encoder and decoder read the label as 0s
and a 1, after the example's other conditions; a third network, the classifier, reads x alone. The
label of an example may be unknown: then it is a further latent, and is summed out.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, logsumexp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from logvar.distributions.base import Distribution, Latents, total
from logvar.likelihoods.base import Outputs
from logvar.models.base import Condition, Terms, Trace
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel, with_condition
from logvar.networks.base import Network
from logvar.posteriors.base import Code
from logvar.randomness import Gaussian
from logvar.trainable import frozen

OneHot = Float[Array, "classes"]


class LabelledVAE(VAEModel):
    """A conditional VAE whose last conditions are the label, with a network that tells it from x.

    An example's condition never holds the label here; its code has one entry for each label, and
    the classifier's outputs as "label". Where one z is needed, it comes with its label: a vector of
    the latents and the label's 0s and 1. `condition_size` counts the labels.
    """

    classifier: Network = dataclasses.field(kw_only=True)
    """x ↦ log q(y | x), up to a constant; it reads a mask and other conditions beside x."""
    log_prior: Float[Array, "classes"] = frozen(kw_only=True)
    """log p(y): of the share of each label among the training rows whose label is known."""
    known: Float[Array, ""] = frozen(kw_only=True)
    """The share of training rows whose label is known."""

    @property
    def conditional(self) -> VAEModel:
        """Return p(x, z | y) and q(z | x, y), whose examples hold the label as a condition."""
        fields = dataclasses.fields(VAEModel)
        return VAEModel(**{field.name: getattr(self, field.name) for field in fields})

    @property
    def classes(self) -> int:
        """The number of labels."""
        return self.log_prior.shape[0]

    @property
    def hidden(self) -> str:
        return "y, z"

    @property
    def networks(self) -> tuple[str, ...]:
        return "encoder", "decoder", "classifier"

    @property
    def groups(self) -> int:
        return 1  # the KL of y and z together

    def logits(self, example: Batch) -> Float[Array, "classes"]:
        """Return the classifier's outputs: log q(y | x), up to a constant."""
        x = self.seen(example)
        if example.condition is not None:
            x = with_condition(x, example.condition)
        outputs: Any = self.classifier(x)
        return outputs

    def told(self, example: Batch) -> Batch:
        """Return copies of an example, one with each label as a condition, for `conditional`."""

        labels = jnp.eye(self.classes, dtype=jnp.float32)
        return jax.vmap(lambda label: self._told(example, label))(labels)

    def _told(self, example: Batch, label: OneHot) -> Batch:
        condition = joined(example.condition, label)
        return dataclasses.replace(example, condition=condition, label=None)

    def encode(self, example: Batch) -> Code:
        codes = jax.vmap(self.conditional.encode)(self.told(example))
        return {**codes, "label": self.logits(example)}

    def representative(self, code: Code) -> Code:
        if "label" not in code:
            return code
        return _at(code, jnp.argmax(code["label"]))

    def embedding(self, code: Code) -> Latents:
        return self.conditional.embedding(self.representative(code))

    def reconstructed(self, example: Batch, code: Code) -> Outputs:
        z = self.embedding(code)
        label = jax.nn.one_hot(jnp.argmax(code["label"]), self.classes, dtype=z.dtype)
        return self.conditional.decode(z, joined(example.condition, label))

    # One bound, with the label summed out.

    def terms(
        self,
        example: Batch,
        code: Code,
        noise: PyTree,
        prior: Distribution | None,
        analytic_kl: bool,
    ) -> Terms:
        """Return E[log p(x | y, z)] and KL(q(y, z | x) ‖ p(y)·p(z)), expectations over q(y | x)."""
        each, log_q = self._for_each_label(example, code, noise, prior, analytic_kl)
        q = jnp.exp(log_q)
        of_label = jnp.sum(q * (log_q - self._log_prior(q)))
        of_latents = jnp.sum(q * total(each.kl))
        return Terms(jnp.sum(q * each.log_likelihood), (of_label + of_latents)[None])

    def log_weight(
        self, example: Batch, code: Code, noise: PyTree, prior: Distribution | None
    ) -> Float[Array, ""]:
        """Return log Σ_y p(y)·p(x, z_y | y)/q(z_y | x, y), where z_y is a draw for label y."""
        each, log_q = self._for_each_label(example, code, noise, prior, False)
        return logsumexp(each.elbo + self._log_prior(log_q))

    def _for_each_label(
        self,
        example: Batch,
        code: Code,
        noise: PyTree,
        prior: Distribution | None,
        analytic_kl: bool,
    ) -> tuple[Terms, Float[Array, "classes"]]:
        model = self.conditional
        codes = {name: of_labels for name, of_labels in code.items() if name != "label"}

        def of_label(told: Batch, code: Code) -> Terms:
            return model.terms(told, code, noise["z"], prior, analytic_kl)

        each = jax.vmap(of_label)(self.told(example), codes)
        return each, log_softmax(code["label"])

    def _log_prior(self, like: Array) -> Float[Array, "classes"]:
        return self.log_prior.astype(like.dtype)

    # One draw of y and z.

    def noise_like(self) -> PyTree:
        return {"label": Gaussian(()), "z": super().noise_like()}

    def _drawn(self, code: Code, noise: PyTree) -> tuple[Code, OneHot]:
        """Draw a label from q(y | x); return its code, and the label as 0s and a 1."""
        q = jax.nn.softmax(code["label"])
        label = jnp.sum(ndtr(noise["label"]) > jnp.cumsum(q)[:-1])
        return _at(code, label), jax.nn.one_hot(label, self.classes, dtype=q.dtype)

    def draw(self, code: Code, noise: PyTree) -> Latents:
        of_label, label = self._drawn(code, noise)
        return jnp.concatenate([self.conditional.draw(of_label, noise["z"]), label])

    def trace(self, example: Batch, code: Code, noise: PyTree, prior: Distribution | None) -> Trace:
        of_label, label = self._drawn(code, noise)
        told = self._told(example, label)
        trace = self.conditional.trace(told, of_label, noise["z"], prior)
        return self._with_label(code, label, trace)

    def trace_at(self, example: Batch, code: Code, z: Latents, prior: Distribution | None) -> Trace:
        z, label = jnp.split(z, [self.latent_dim])
        of_label = _at(code, jnp.argmax(label))
        trace = self.conditional.trace_at(self._told(example, label), of_label, z, prior)
        return self._with_label(code, label, trace)

    def _with_label(self, code: Code, label: OneHot, trace: Trace) -> Trace:
        log_q = total(trace.log_q) + jnp.vdot(label, log_softmax(code["label"]))
        log_p = total(trace.log_p) + jnp.vdot(label, self._log_prior(label))
        z = jnp.concatenate([trace.z, label])
        return Trace(z, trace.outputs, log_q[None], log_p[None], None)

    # Samples; a condition with the label in it says which.

    def sample_latents(self, key: PRNGKeyArray, condition: Condition | None = None) -> Latents:
        if condition is not None and condition.shape == (self.condition_size,):
            return self.conditional.sample_latents(key, condition)
        of_label, of_z = jax.random.split(key)
        drawn = jax.random.categorical(of_label, self.log_prior)
        label = jax.nn.one_hot(drawn, self.classes, dtype=jnp.float32)
        z = self.conditional.sample_latents(of_z, joined(condition, label))
        return jnp.concatenate([z, label.astype(z.dtype)])

    def decode(self, z: Latents, condition: Condition | None = None) -> Outputs:
        if z.shape[-1] > self.latent_dim:
            z, label = jnp.split(z, [self.latent_dim])
            condition = joined(condition, label)
        return self.conditional.decode(z, condition)

    def mean(self, z: Latents, condition: Condition | None = None) -> Array:
        """Return E[x | z, y]; if nothing says the label, E[x | z] = Σ_y p(y | z)·E[x | z, y]."""
        size = z.shape[-1] - self.latent_dim + (0 if condition is None else condition.shape[-1])
        if size == self.condition_size:
            return self.likelihood.mean(self.decode(z, condition))

        def of_label(label: OneHot) -> Array:
            return self.likelihood.expectation(self.decode(z, joined(condition, label)))

        def log_p(label: OneHot) -> Array:
            prior = self.conditional.prior_given(joined(condition, label))
            assert prior is not None
            return prior.log_prob(z)

        labels = jnp.eye(self.classes, dtype=z.dtype)
        each, p = jax.vmap(of_label)(labels), jnp.exp(self._log_prior(z))
        if self.prior.is_conditional:  # otherwise y is independent of z
            p = jax.nn.softmax(self._log_prior(z) + jax.vmap(log_p)(labels))
        return self.likelihood.most_probable(jnp.tensordot(p, each, axes=1))


def joined(condition: Condition | None, label: OneHot) -> Float[Array, "both"]:
    """Return a condition with the label after it."""
    if condition is None:
        return label
    return jnp.concatenate([condition, label.astype(condition.dtype)])


def _at(code: Code, label: Array) -> Code:
    """Return the code of an example for one label."""
    return {name: of_labels[label] for name, of_labels in code.items() if name != "label"}
