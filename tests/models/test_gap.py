"""Linear data whose true posterior is correlated: what each posterior family can reach.

For x = W·z + b + noise the posterior is N(m(x), S) with S⁻¹ = P = I + WᵀW/s², and the ELBO falls
short of log p(x) by KL(q ‖ posterior): nothing for `full`, ½(Σ log Pᵢᵢ − log det P) for the best
diagonal, and a minimum between them for a covariance of low rank.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import logvar
from logvar.distributions.multivariate import StandardNormal
from logvar.models.vae import VAEModel
from logvar.objectives import draws
from logvar.randomness import noise
from tests.objectives.tiny import LinearDecoder, batch_of

pytestmark = pytest.mark.usefixtures("float64")
D, FEATURES, SIGMA = 4, 4, 0.5
# Two pairs of latents that x hardly tells apart: one column of W can hold one pair's correlation.
W = np.array([[1.0, 0, 0, 0], [0.9, 0.2, 0, 0], [0, 0, 1.0, 0], [0, 0, 0.9, 0.2]])
B = np.random.default_rng(4).normal(size=FEATURES)
PRECISION = np.eye(D) + W @ W.T / SIGMA**2
S = np.linalg.inv(PRECISION)
DIAGONAL_GAP = 0.5 * (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1])


class Encoder(eqx.Module):
    """The mean of the true posterior, and the same spread for every x."""

    rest: jax.Array

    def __call__(self, x):
        mean = jnp.asarray(S @ W / SIGMA**2) @ (x - jnp.asarray(B))
        return jnp.concatenate([mean, self.rest])


def divergence(covariance):
    """KL(N(m, covariance) ‖ N(m, S)), nats."""
    product = PRECISION @ covariance
    return 0.5 * (np.trace(product) - D - np.linalg.slogdet(product)[1])


def best_low_rank():
    """(raw, factor) under log-std with the smallest divergence, by SciPy."""

    def loss(v):
        return divergence(np.diag(np.exp(2 * v[:D])) + np.outer(v[D:], v[D:]))

    starts = np.random.default_rng(0).normal(size=(4, 2 * D)) * 0.3
    found = min((optimize.minimize(loss, v) for v in starts), key=lambda f: f.fun)
    return found.x, found.fun


def rest_of(name):
    """(raw and further outputs at the family's optimum, its gap in nats)."""
    if name == "diagonal":
        return -0.5 * np.log(np.diag(PRECISION)), DIAGONAL_GAP
    if name == "low-rank":
        return best_low_rank()
    lower = np.linalg.cholesky(S)
    return np.concatenate([np.log(np.diag(lower)), lower[np.tril_indices(D, -1)]]), 0.0


def model_of(name, rest):
    likelihood = logvar.likelihoods.get("normal(noise=fixed)", sigma=SIGMA).build((FEATURES,))
    wide = lambda a: a.astype(float) if eqx.is_inexact_array(a) else a  # noqa: E731
    return VAEModel(
        encoder=Encoder(jnp.asarray(rest)),
        decoder=LinearDecoder(jnp.asarray(W), jnp.asarray(B)),
        prior=logvar.priors.get("standard"),
        likelihood=jax.tree.map(wide, likelihood),
        posterior=logvar.posteriors.get(name, scale="log-std"),
        latent_dim=D,
    )


def rows(n):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, D)) @ W + B + SIGMA * rng.normal(size=(n, FEATURES))


@eqx.filter_jit
def elbos(model, batch, eps):
    return jnp.mean(draws(model, batch, eps).terms(analytic_kl=False).elbo, axis=1)


def test_each_family_reaches_log_p_but_for_its_known_gap():
    """Each ELBO within 3 standard errors + 0.02 nats, and full, low-rank, diagonal in this order."""
    x = rows(500)
    log_p = stats.multivariate_normal(B, W.T @ W + SIGMA**2 * np.eye(FEATURES)).logpdf(x)
    gaps = {}
    for name in ("full", "low-rank", "diagonal"):
        rest, gap = rest_of(name)
        model = model_of(name, rest)
        eps = noise(model.noise_like(), jax.random.key(0), (len(x), 20))
        eps = jax.tree.map(lambda e: e.astype(float), eps)
        short = log_p - np.asarray(elbos(model, batch_of(jnp.asarray(x)), eps))
        error = short.std() / np.sqrt(len(short))
        assert abs(short.mean() - gap) < 3 * error + 0.02, name
        gaps[name] = gap
        if name == "full":  # not on average alone: in every draw
            np.testing.assert_allclose(short, 0, atol=1e-6)
    assert 0 == gaps["full"] < gaps["low-rank"] - 0.05 < gaps["diagonal"] - 0.1


@pytest.mark.parametrize("name", ["full", "low-rank", "diagonal"])
def test_training_finds_that_optimum_from_where_a_run_starts(name):
    """Further outputs start at 0, where the factor of `low-rank` has a saddle: noise leaves it."""
    _, gap = rest_of(name)
    posterior = logvar.posteriors.get(name, scale="log-std")
    prior = StandardNormal(D)
    sizes = list(posterior.heads(D).values())
    w = jnp.asarray(W)

    def loss(rest, key):
        """−ELBO but for a constant, for the residual x − W·m − b of the mean example."""
        heads = jnp.split(jnp.concatenate([jnp.zeros(D), rest]), np.cumsum(sizes)[:-1])
        q = posterior.distribution(dict(zip(posterior.heads(D), heads, strict=True)))

        def one(eps):
            z = q.draw(eps)
            log_q = jnp.sum(q.log_prob_groups_of_noise(eps))
            return log_q - prior.log_prob(z) + 0.5 * jnp.sum(jnp.square(z @ w)) / SIGMA**2

        eps = noise(posterior.noise_like(D), key, (32,))
        eps = jax.tree.map(lambda e: e.astype(float), eps)
        return jnp.mean(jax.vmap(one)(eps))

    @jax.jit
    def trained(keys):
        def step(carry, key):
            rest, square, i = carry
            slope = jax.grad(loss)(rest, key)
            square = 0.99 * square + 0.01 * slope**2
            rate = 0.02 * jnp.minimum(1.0, 400.0 / (i + 1))
            corrected = square / (1 - 0.99 ** (i + 1))
            return (rest - rate * slope / (jnp.sqrt(corrected) + 1e-8), square, i + 1), None

        start = jnp.zeros(sum(sizes) - D)
        return jax.lax.scan(step, (start, jnp.zeros_like(start), jnp.zeros(())), keys)[0][0]

    found = np.asarray(trained(jax.random.split(jax.random.key(2), 1500)))
    heads = np.split(np.concatenate([np.zeros(D), found]), np.cumsum(sizes)[:-1])
    code = {name: jnp.asarray(head) for name, head in zip(posterior.heads(D), heads, strict=True)}
    q = posterior.distribution(code)
    covariance = np.diag(np.exp(2 * found)) if name == "diagonal" else np.asarray(q.covariance)
    assert gap - 1e-9 <= divergence(covariance) < gap + 0.02
