"""What training maximizes: the ELBO and its relatives, in nats per example.

An objective is a part to exchange. It sees a batch, the noise and the step, and returns the loss
to minimize with the plain terms of the ELBO at β = 1, which are what gets reported.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logvar.distributions.normal import Normal
from logvar.model import Model

Example = Float[Array, "*shape"]
Code = tuple[Float[Array, "latent"], Float[Array, "latent"]]
Batch = Float[Array, "batch *shape"]
Noise = Float[Array, "batch samples latent"]
PerExample = Float[Array, "batch"]
Scalar = Float[Array, ""]
Step = Int[Array, ""] | int


class Terms(NamedTuple):
    """The two terms of one example's ELBO: log p(x | z), and the KL of each latent."""

    log_likelihood: Float[Array, "..."]
    kl: Float[Array, "... latent"]
    residual: Float[Array, "..."] | float = 0.0
    """What a noise in closed form is fitted to; 0 where there is none."""

    @property
    def elbo(self) -> Float[Array, "..."]:
        """log p(x | z) − Σ KL, at β = 1."""
        return self.log_likelihood - jnp.sum(self.kl, axis=-1)


class Drawn(NamedTuple):
    """One draw of z: what the decoder made of it, and the KL of each latent."""

    outputs: Float[Array, "..."]
    kl: Float[Array, "... latent"]


def draw(model: Model, code: Code, eps: Float[Array, "latent"], analytic_kl: bool) -> Drawn:
    """Draw z for one example, decode it, and measure the KL.

    With `analytic_kl` the KL is in closed form; without, it is the single-sample estimate
    log q(z | x) − log p(z), the tutorial's three-term form.

    Args:
        model: the model.
        code: the encoder's (mean, raw) for the example.
        eps: standard normal noise.
        analytic_kl: which KL.
    """
    posterior = Normal(*code, model.scale)
    z = posterior.reparameterize(eps)
    if analytic_kl:
        kl = model.prior.kl(posterior)
    else:
        kl = posterior.log_prob_of_noise(eps) - model.prior.log_prob(z)
    return Drawn(model.decode(z), kl)


def terms(
    model: Model, x: Example, code: Code, eps: Float[Array, "latent"], analytic_kl: bool
) -> Terms:
    """The ELBO's terms for one example, its code and one draw of noise."""
    drawn = draw(model, code, eps, analytic_kl)
    return Terms(model.likelihood.total(x, drawn.outputs), drawn.kl)


def batch_terms(model: Model, x: Batch, eps: Noise, weight: PerExample, analytic_kl: bool) -> Terms:
    """The terms (batch, samples) of each example and draw; each example is encoded once.

    A noise in closed form is the best one for this batch, so it comes between decoding and
    log p(x | z).
    """

    batch, samples, latent_dim = eps.shape

    def each_sample(of_example: Array) -> Array:
        return jnp.repeat(of_example, samples, axis=0)

    # One axis for examples and samples: over two, the products of the gradient need transposes.
    codes = jax.tree.map(each_sample, jax.vmap(model.encode)(x))
    noise = eps.reshape(batch * samples, latent_dim)
    drawn = jax.vmap(lambda code, e: draw(model, code, e, analytic_kl))(codes, noise)
    likelihood, seen = model.likelihood, each_sample(x)
    residual = jax.vmap(likelihood.residual)(seen, drawn.outputs).reshape(batch, samples)
    fitted = likelihood.fitted(_average(jnp.mean(residual, axis=1), weight))
    log_likelihood = jax.vmap(fitted.total)(seen, drawn.outputs).reshape(batch, samples)
    return Terms(log_likelihood, drawn.kl.reshape(batch, samples, latent_dim), residual)


class Objective(eqx.Module):
    """Maps a batch to the loss that training minimizes, and to the ELBO's terms."""

    n_samples: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self, model: Model, x: Batch, eps: Noise, weight: PerExample, step: Step
    ) -> tuple[Scalar, Terms]:
        """Return (loss, terms averaged over the batch).

        Args:
            model: the model.
            x: a batch of examples.
            eps: standard normal noise for each example and sample.
            weight: 1 for an example, 0 for padding.
            step: the number of steps taken so far, for schedules.
        """


Number = Scalar | float


def _number(value: Number) -> Scalar:
    """An array, so that another value needs no other compiled program."""
    return jnp.asarray(value, jnp.float32)


class ELBO(Objective):
    """−E[log p(x | z)] + β·KL(q ‖ p), with warm-up of β and free bits.

    Args:
        beta: weight of the KL (Higgins et al. 2017); 1 is the ELBO.
        warmup_steps: over so many steps β rises linearly from 0 (Bowman et al. 2016).
        free_bits: nats of KL per latent, averaged over the batch, that cost nothing more to use
            (Kingma et al. 2016, arXiv 1606.04934); 0 is off.
        analytic_kl: KL in closed form, or by the single-sample estimate.
        n_samples: draws of z per example.
    """

    beta: Number = eqx.field(converter=_number, default=1.0)
    warmup_steps: Number = eqx.field(converter=_number, default=0.0)
    free_bits: Number = eqx.field(converter=_number, default=0.0)
    analytic_kl: bool = eqx.field(static=True, default=True)
    n_samples: int = eqx.field(static=True, default=1)

    def __call__(
        self, model: Model, x: Batch, eps: Noise, weight: PerExample, step: Step
    ) -> tuple[Scalar, Terms]:
        each = batch_terms(model, x, eps, weight, self.analytic_kl)
        mean = jax.tree.map(lambda value: _average(jnp.mean(value, axis=1), weight), each)
        # The bits are free per latent and batch; max(KL, λ) gives no gradient below λ.
        charged = jnp.sum(jnp.maximum(mean.kl, self.free_bits))
        kl = jnp.where(self.free_bits > 0, charged, jnp.sum(mean.kl))
        return self.beta_at(step) * kl - mean.log_likelihood, mean

    def beta_at(self, step: Step) -> Scalar:
        """β after so many steps."""
        progress = (jnp.asarray(step, jnp.float32) + 1) / jnp.maximum(self.warmup_steps, 1.0)
        return self.beta * jnp.where(self.warmup_steps > 0, jnp.minimum(progress, 1.0), 1.0)


class ImportanceWeighted(Objective):
    """−log (1/k)·Σ p(x, z)/q(z | x): the IWAE bound with k = n_samples.

    Reference: Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519.
    """

    n_samples: int = eqx.field(static=True, default=5)

    def __call__(
        self, model: Model, x: Batch, eps: Noise, weight: PerExample, step: Step
    ) -> tuple[Scalar, Terms]:
        each = batch_terms(model, x, eps, weight, analytic_kl=False)
        bound = jax.nn.logsumexp(each.elbo, axis=1) - jnp.log(float(self.n_samples))
        mean = jax.tree.map(lambda value: _average(jnp.mean(value, axis=1), weight), each)
        return -_average(bound, weight), mean


OBJECTIVES = ("elbo", "iwae")
"""The names a recipe may use."""


def _average(values: Float[Array, "batch *rest"], weight: PerExample) -> Float[Array, "*rest"]:
    """The mean over the examples of weight 1."""
    return jnp.tensordot(weight, values, axes=1) / jnp.sum(weight)
