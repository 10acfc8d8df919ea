"""Models so small that expectations under them are known or can be integrated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import logvar
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.objectives import Moment
from logvar.posteriors.diagonal import Diagonal

LOG_STD = logvar.scales.get("log-std")
FEATURES = 3


class LinearEncoder(eqx.Module):
    """x ↦ (mean, raw), both linear in x."""

    kernel: Float[Array, "features outputs"]
    bias: Float[Array, "outputs"]

    def __call__(self, x):
        return x @ self.kernel + self.bias


class LinearDecoder(eqx.Module):
    kernel: Float[Array, "latent features"]
    bias: Float[Array, "features"]

    def __call__(self, z):
        return z @ self.kernel + self.bias


def linear_model(
    latent_dim=1, prior=None, likelihood="normal(noise=fixed, sigma=2)", seed=0
) -> VAEModel:
    """A linear model with weights drawn at random, in the dtype in force."""
    rng = np.random.default_rng(seed)
    model = VAEModel(
        encoder=LinearEncoder(
            jnp.asarray(0.4 * rng.normal(size=(FEATURES, 2 * latent_dim))),
            jnp.asarray(0.3 * rng.normal(size=2 * latent_dim)),
        ),
        decoder=LinearDecoder(
            jnp.asarray(rng.normal(size=(latent_dim, FEATURES))),
            jnp.asarray(0.2 * rng.normal(size=FEATURES)),
        ),
        prior=logvar.priors.get("standard") if prior is None else prior,
        likelihood=logvar.likelihoods.get(likelihood).build((FEATURES,)),
        posterior=Diagonal(LOG_STD),
        latent_dim=latent_dim,
    )
    return in_force(model)


def at_its_optimum(model: VAEModel) -> VAEModel:
    """The model with the encoder that gives its exact posterior, for one latent: precision
    1 + wᵀw/σ², mean σ²_post·wᵀ(x − b)/σ²."""
    w, b = np.asarray(model.decoder.kernel)[0], np.asarray(model.decoder.bias)
    variance = float(model.likelihood.noise.scale.variance(model.likelihood.noise.raw))
    of_posterior = 1 / (1 + w @ w / variance)
    to_mean = of_posterior * w / variance
    kernel = np.stack([to_mean, np.zeros(FEATURES)], axis=1)
    bias = np.array([-to_mean @ b, 0.5 * np.log(of_posterior)])
    encoder = in_force(LinearEncoder(jnp.asarray(kernel), jnp.asarray(bias)))
    return eqx.tree_at(lambda model: model.encoder, model, encoder)


def in_force(tree):
    """Arrays in float64 where that is on."""
    dtype = jnp.zeros(()).dtype
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)


def perturbed(model: VAEModel, by: float) -> VAEModel:
    """The model with an encoder that is off by so much in each weight."""
    encoder = jax.tree.map(lambda weight: weight + by, model.encoder)
    return eqx.tree_at(lambda model: model.encoder, model, encoder)


def some_rows(n=1, seed=3):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, FEATURES)))


def moment(step=0, steps_per_epoch=5, rows=20, objective=None, latent_dim=2):
    """A position in training, with the weights of the objective's own if it has any."""
    at = [jnp.asarray(n, jnp.int32) for n in (step, 0, rows, steps_per_epoch)]
    extras = None
    if objective is not None:
        extras = in_force(objective.extras(latent_dim, jax.random.key(8)))
    return Moment(*at, jax.random.key(0), extras)


def iwae(samples, gradient="total"):
    return logvar.objectives.get("iwae", samples=samples, gradient=gradient)


PARTS = ("encoder", "decoder", "prior", "likelihood")


def with_terms(objective, model, batch):
    """noise ↦ (loss, gradient by part as vectors, terms), compiled, for noise with a first axis of
    draws. The gradient is that of every array, frozen ones included."""
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(weights, noise):
        at = moment(objective=objective, latent_dim=model.latent_dim)
        return objective(eqx.combine(weights, rest), batch, noise, at)

    def of_draw(noise):
        (value, terms), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(weights, noise)
        return value, {part: flat(getattr(gradient, part)) for part in PARTS}, terms

    return jax.jit(jax.vmap(of_draw))


def gradients(objective, model, batch):
    """The same without the terms."""
    found = with_terms(objective, model, batch)
    return lambda noise: found(noise)[:2]


def flat(tree):
    leaves = [leaf.reshape(-1) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(leaves) if leaves else jnp.zeros(0)


def batch_of(rows, weight=None):
    """A batch whose weights are in the dtype of its rows."""
    weight = np.ones(len(rows)) if weight is None else weight
    return Batch(rows, weight=jnp.asarray(weight, rows.dtype))
